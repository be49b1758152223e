"""Integer kernels: nodes that run in integers, with what they read and write."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import SMALLEST_RANGE
from pruna_ir.targets import OpRow, Target

_STANDARD_DOMAINS = (None, "", "ai.onnx")


@dataclass(frozen=True)
class Bounds:
    """The interval that an absorbed activation function clips to."""

    low: float = -math.inf
    high: float = math.inf


@dataclass
class Kernel:
    """A node that will run in integers. `output` is what it writes once its activation function is absorbed."""

    node: gs.Node
    row: OpRow
    output: gs.Tensor
    absorbed: gs.Node | None = None
    bounds: Bounds = Bounds()
    writes_integers: bool = True

    @property
    def key(self) -> str:
        """The kernel's name in decision logs and remarks: it survives cloning and renumbering."""
        return str(self.node.outputs[0].name)

    @property
    def weight(self) -> gs.Constant | None:
        """The constant weight, if the op has one."""
        index = self.row.weight
        if index is None or len(self.node.inputs) <= index:
            return None
        tensor = self.node.inputs[index]
        return tensor if isinstance(tensor, gs.Constant) else None

    @property
    def bias(self) -> tuple[gs.Node, int] | None:
        """Where the bias is read, if there is one: the node, or the one behind it that adds it, and the position."""
        if self.row.bias is not None:
            inputs = self.node.inputs
            there = len(inputs) > self.row.bias and not inputs[self.row.bias].is_empty()
            return (self.node, self.row.bias) if there else None
        readers = self.node.outputs[0].outputs
        if self.weight is None or self.writes_integers or [reader.op for reader in readers] != [self.row.bias_added_by]:
            return None
        constants = [i for i, read in enumerate(readers[0].inputs) if _is_bias(read, self.channels)]
        return (readers[0], constants[0]) if constants else None

    @property
    def channels(self) -> int:
        """How many output channels the weight has."""
        assert self.weight is not None
        return int(self.weight.shape[weight_axis(self.node, self.row, len(self.weight.shape))])

    def activations(self) -> list[tuple[int, gs.Tensor]]:
        """The inputs that carry Q/DQ as activations, with their positions."""
        chosen = range(len(self.node.inputs)) if self.row.inputs is None else self.row.inputs
        weight = self.row.weight if self.weight is not None else None
        return [(i, self.node.inputs[i]) for i in chosen if i != weight and i < len(self.node.inputs)]


def row_of(node: gs.Node, target: Target) -> OpRow | None:
    """The target's row for the op of a node, if it has one: tables are about ONNX's own ops."""
    return target.ops.get(node.op) if node.domain in _STANDARD_DOMAINS else None


def kernel_of(node: gs.Node, row: OpRow, outputs: Collection[int], nodes: Collection[int]) -> Kernel:
    """The kernel of a node, with the activation function behind it if that stands in the same graph."""
    written = node.outputs[0]
    if row.absorbs and len(written.outputs) == 1 and id(written) not in outputs:
        reader = written.outputs[0]
        bounds = clip_bounds(reader) if reader.op in row.absorbs and id(reader) in nodes else None
        if bounds is not None:
            return Kernel(node, row, reader.outputs[0], reader, bounds)
    return Kernel(node, row, written)


def clip_bounds(node: gs.Node) -> Bounds | None:
    """The interval of a Relu or Clip; None if no quantized range lies within it.

    Those hold zero and have a width; and the bounds must be constant.
    """
    if node.op == "Relu":
        return Bounds(low=0.0)
    limits = [-math.inf, math.inf]
    for position, tensor in enumerate(node.inputs[1:3]):
        if tensor.is_empty():
            continue
        if not isinstance(tensor, gs.Constant):
            return None
        limits[position] = float(np.asarray(tensor.values).reshape(()))
    holds_zero = limits[0] <= 0.0 <= limits[1]
    return Bounds(*limits) if holds_zero and limits[1] - limits[0] >= SMALLEST_RANGE else None


def _is_bias(tensor: gs.Tensor, channels: int) -> bool:
    return isinstance(tensor, gs.Constant) and tensor.shape == (channels,) and bool(np.isfinite(tensor.values).all())


def weight_axis(node: gs.Node, row: OpRow, rank: int) -> int:
    """The axis of a weight along which its op's output channels lie."""
    transposed = row.transposed_by is not None and node.attrs.get(row.transposed_by, 0)
    return 0 if transposed else row.weight_axis % rank
