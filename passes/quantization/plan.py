"""Which nodes become integer kernels, and which tensors carry Q/DQ for that: decided from a target's table alone."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.remarks import Reason
from pruna_ir.targets import OpRow, Output, Target


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

    def activations(self) -> list[tuple[int, gs.Tensor]]:
        """The inputs that carry Q/DQ as activations, with their positions."""
        chosen = range(len(self.node.inputs)) if self.row.inputs is None else self.row.inputs
        weight = self.row.weight if self.weight is not None else None
        return [(i, self.node.inputs[i]) for i in chosen if i != weight and i < len(self.node.inputs)]


@dataclass
class Plan:
    """The kernels in graph order, and for each node that has a row but stays in float, the reason."""

    kernels: list[Kernel] = field(default_factory=list)
    refused: list[tuple[gs.Node, Reason]] = field(default_factory=list)

    def reads(self, tensor: gs.Tensor) -> bool:
        """Whether a kernel reads the tensor as an activation."""
        return id(tensor) in self._read

    @cached_property
    def _read(self) -> set[int]:
        return {id(tensor) for kernel in self.kernels for _, tensor in kernel.activations()}

    def calibrated(self) -> list[str]:
        """Names of the tensors whose ranges must be known."""
        names: dict[str, None] = {}
        for kernel in self.kernels:
            for _, tensor in kernel.activations():
                if not isinstance(tensor, gs.Constant):
                    names[tensor.name] = None
            if kernel.writes_integers and kernel.row.output not in (Output.SAME, Output.UNION):
                names[kernel.output.name] = None
        return list(names)


def make_plan(graph: gs.Graph, target: Target, allowed: Collection[str] | None = None) -> Plan:
    """Plan the integer kernels of a graph (sub-graphs stay in float).

    `allowed` limits the kernels to these keys (None: all). An op without weights takes part only between kernels:
    alone it would pay for quantizing and win nothing.
    """
    plan = Plan()
    integer: set[int] = set()
    outputs = {id(tensor) for tensor in graph.outputs}
    nodes = {id(node) for node in graph.nodes}
    for node in graph.nodes:
        row = target.ops.get(node.op)
        if row is None or not node.outputs:
            continue
        kernel = _kernel(node, row, outputs)
        if allowed is not None and kernel.key not in allowed:
            continue
        reason = _obstacle(kernel, integer)
        if any(id(reader) not in nodes for reader in kernel.output.outputs):
            reason = Reason("a sub-graph reads `{}`", kernel.output.name)
        if reason is not None:
            plan.refused.append((node, reason))
            continue
        plan.kernels.append(kernel)
        integer.add(id(kernel.output))
    _drop_tails(plan)
    return plan


def _kernel(node: gs.Node, row: OpRow, outputs: set[int]) -> Kernel:
    written = node.outputs[0]
    if row.absorbs and len(written.outputs) == 1 and id(written) not in outputs:
        reader = written.outputs[0]
        bounds = clip_bounds(reader) if reader.op in row.absorbs else None
        if bounds is not None:
            return Kernel(node, row, reader.outputs[0], reader, bounds)
    return Kernel(node, row, written)


def clip_bounds(node: gs.Node) -> Bounds | None:
    """The interval of a Relu or Clip; None if it is not constant or leaves out zero, which quantized ranges hold."""
    if node.op == "Relu":
        return Bounds(low=0.0)
    limits = [-math.inf, math.inf]
    for position, tensor in enumerate(node.inputs[1:3]):
        if tensor.is_empty():
            continue
        if not isinstance(tensor, gs.Constant):
            return None
        limits[position] = float(np.asarray(tensor.values).reshape(()))
    return Bounds(*limits) if limits[0] <= 0.0 <= limits[1] else None


def weight_axis(node: gs.Node, row: OpRow, rank: int) -> int:
    """The axis of a weight along which its op's output channels lie."""
    transposed = row.transposed_by is not None and node.attrs.get(row.transposed_by, 0)
    return 0 if transposed else row.weight_axis % rank


def _obstacle(kernel: Kernel, integer: set[int]) -> Reason | None:
    """Why a node cannot be an integer kernel, given which tensors integer kernels have written before it."""
    node, row = kernel.node, kernel.row
    for tensor in [*(tensor for _, tensor in kernel.activations()), node.outputs[0]]:
        if tensor.dtype != np.float32:
            return Reason("`{}` is {}, not float32", tensor.name, tensor.dtype)
    for attribute, wanted in row.requires.items():
        found = node.attrs.get(attribute, wanted)
        if found != wanted:
            return Reason("the integer kernel needs {}={}, not {}", attribute, wanted, found)
    if row.weight is not None and kernel.weight is None and row.weight not in (row.inputs or ()):
        return Reason("its weight `{}` is not a constant", node.inputs[row.weight].name)
    if kernel.weight is not None and len(kernel.weight.shape) < 2:
        return Reason("its weight `{}` is a vector", kernel.weight.name)
    bias = node.inputs[row.bias] if row.bias is not None and len(node.inputs) > row.bias else None
    if bias is not None and not bias.is_empty() and not isinstance(bias, gs.Constant):
        return Reason("its bias `{}` is not a constant", bias.name)
    if kernel.weight is None and not any(id(tensor) in integer for _, tensor in kernel.activations()):
        return Reason("it has no weights and nothing before it runs in integers")
    return None


def _drop_tails(plan: Plan) -> None:
    """Drop kernels without weights that no kernel reads, from the end backwards, and integer outputs nobody needs."""
    read: set[int] = set()
    kept: list[Kernel] = []
    for kernel in reversed(plan.kernels):
        wanted = id(kernel.output) in read
        if kernel.weight is None and not wanted:
            plan.refused.append((kernel.node, Reason("it has no weights and nothing after it runs in integers")))
            continue
        kernel.writes_integers = wanted or kernel.row.output is not Output.OPTIONAL
        if not wanted and not kernel.writes_integers:
            kernel.output, kernel.absorbed = kernel.node.outputs[0], None
        kept.append(kernel)
        read.update(id(tensor) for _, tensor in kernel.activations())
    plan.kernels = kept[::-1]
