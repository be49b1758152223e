"""Integer kernels: nodes that run in integers, with what they read and write."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import SMALLEST_RANGE
from pruna_ir.targets import OpRow, Target

_STANDARD_DOMAINS = (None, "", "ai.onnx")
# Activation functions that saturation computes, if the range of integers ends where they clip.
_CLIPS = ("Relu", "Clip")


@dataclass(frozen=True)
class Bounds:
    """The interval that an absorbed activation function clips to."""

    low: float = -math.inf
    high: float = math.inf


@dataclass
class Kernel:
    """A node that will run in integers. `output` is what it writes once its activation function is absorbed.

    `bounds` is where a range of `output` must end so that saturation computes that function (None: it cannot).
    `absorbed` writes `output` then, after the nodes `within`, where the function is made of several.
    `ends` is the position of an input that stays in float, because this node is the end of the kernel that writes it.
    """

    node: gs.Node
    row: OpRow
    output: gs.Tensor
    absorbed: gs.Node | None = None
    within: tuple[gs.Node, ...] = ()
    bounds: Bounds | None = None
    ends: int | None = None
    writes_integers: bool = True

    @property
    def key(self) -> str:
        """The kernel's name in decision logs and remarks: it survives cloning and renumbering."""
        return str(self.node.outputs[0].name)

    @property
    def outputs(self) -> list[gs.Tensor]:
        """What it writes: `output`, and the further outputs of an op that has several."""
        further = self.node.outputs[1:] if self.row.all_outputs else []
        return [self.output, *(tensor for tensor in further if tensor.name)]

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

    @property
    def input_channels(self) -> int:
        """How many input channels the weight has, those of all groups of a convolution."""
        assert self.weight is not None
        shape = self.weight.shape
        axis = 1 - weight_axis(self.node, self.row, len(shape))  # both lie within the first two
        return int(shape[axis]) * int(self.node.attrs.get("group", 1))

    def activations(self) -> list[tuple[int, gs.Tensor]]:
        """The inputs that carry Q/DQ as activations, with their positions."""
        chosen = range(len(self.node.inputs)) if self.row.inputs is None else self.row.inputs
        left_out = {self.row.weight if self.weight is not None else None, self.ends}
        return [(i, self.node.inputs[i]) for i in chosen if i not in left_out and i < len(self.node.inputs)]


def weight_bits(node: gs.Node, shape: Sequence[int], target: Target) -> int | None:
    """How many bits of the target's type the weight of a node may use, from its shape (None: all of them)."""
    return (_is_depthwise(node, shape) and target.depthwise_bits) or target.weights.bits


def _is_depthwise(node: gs.Node, shape: Sequence[int]) -> bool:
    """Whether a node is a convolution over images that makes each output channel of one input channel."""
    if node.op != "Conv" or len(shape) != 4:
        return False
    return bool(shape[1] == 1 and shape[0] == node.attrs.get("group", 1) > 1)


def row_of(node: gs.Node, target: Target) -> OpRow | None:
    """The target's row for the op of a node, if it has one: tables are about ONNX's own ops."""
    return target.ops.get(node.op) if node.domain in _STANDARD_DOMAINS else None


def kernel_of(node: gs.Node, row: OpRow, outputs: Collection[int], nodes: Collection[int]) -> Kernel:
    """The kernel of a node, with the activation function behind it if that stands in the same graph."""
    written = node.outputs[0]
    function = _function_behind(written, row, outputs)
    if not function or any(id(part) not in nodes for part in function):
        return Kernel(node, row, written)
    *within, last = function
    bounds = clip_bounds(last) if last.op in _CLIPS else None
    if last.op in _CLIPS and bounds is None:
        return Kernel(node, row, written)
    return Kernel(node, row, last.outputs[0], last, tuple(within), bounds)


def _function_behind(written: gs.Tensor, row: OpRow, outputs: Collection[int]) -> list[gs.Node]:
    """The nodes of the activation function that alone reads a tensor, if the row absorbs it."""
    if not row.absorbs or id(written) in outputs:
        return []
    if len(written.outputs) == 1:
        reader = written.outputs[0]
        return [reader] if reader.op in row.absorbs and reader.inputs[0] is written else []
    return _swish(written, outputs) if "Swish" in row.absorbs else []


def _swish(written: gs.Tensor, outputs: Collection[int]) -> list[gs.Node]:
    """Sigmoid and Mul, as Swish is written below opset 24, where they are all that reads the tensor."""
    gate = next((reader for reader in written.outputs if reader.op == "Sigmoid"), None)
    product = next((reader for reader in written.outputs if reader.op == "Mul"), None)
    if gate is None or product is None or len(written.outputs) != 2 or id(gate.outputs[0]) in outputs:
        return []
    alone = len(gate.outputs[0].outputs) == 1 and any(read is gate.outputs[0] for read in product.inputs)
    return [gate, product] if alone else []


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
