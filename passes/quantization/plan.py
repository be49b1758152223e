"""Which nodes become integer kernels, and which tensors carry Q/DQ for that: decided from a target's table alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.scoping import bodies_of, graphs_of
from pruna_ir.passes.quantization.kernel import Kernel, kernel_of, row_of
from pruna_ir.passes.quantization.obstacles import obstacle
from pruna_ir.remarks import Reason
from pruna_ir.targets import Company, Output, Scales, Target


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
            if kernel.writes_integers and kernel.row.scales is Scales.FREE and kernel.row.fixed is None:
                names[kernel.output.name] = None
        return list(names)


def make_plan(graph: gs.Graph, target: Target, allowed: Collection[str] | None = None) -> Plan:
    """Plan the integer kernels of a graph (sub-graphs stay in float).

    `allowed` limits the kernels to these keys (None: all). An op without weights takes part only in the company that
    its row asks for.
    """
    plan = Plan()
    written: dict[int, Kernel] = {}
    absorbed: set[int] = set()
    outputs = {id(tensor) for tensor in graph.outputs}
    nodes = {id(node) for node in graph.nodes}
    for node in graph.nodes:
        row = row_of(node, target)
        if row is None or id(node) in absorbed or not node.outputs or _counts(node.outputs[0]):
            continue
        kernel = kernel_of(node, row, outputs, nodes)
        if row.ends_kernel:
            kernel.ends = _ended_input(kernel, written, outputs)
        if allowed is not None and kernel.key not in allowed:
            continue
        reason = obstacle(kernel, nodes, target.activations.dtype) or _lonely(kernel, written)
        if reason is not None:
            plan.refused.append((node, reason))
            continue
        plan.kernels.append(kernel)
        written.update((id(tensor), kernel) for tensor in kernel.outputs)
        if kernel.absorbed is not None:
            absorbed.update(id(part) for part in (*kernel.within, kernel.absorbed))
    _drop_tails(plan, {op for row in target.ops.values() for op in row.absorbs})
    return plan


def bodies_with_kernels(graph: gs.Graph, target: Target) -> list[gs.Node]:
    """The control-flow nodes whose sub-graphs hold ops with weights that the target has integer kernels for."""

    def weighted(node: gs.Node) -> bool:
        row = row_of(node, target)
        return row is not None and row.weight is not None

    inner = ((node, body) for node in graph.nodes for held in bodies_of(node) for body in graphs_of(held))
    return list({id(node): node for node, body in inner if any(map(weighted, body.nodes))}.values())


def _counts(tensor: gs.Tensor) -> bool:
    """Whether the tensor holds integers or truth values, as computed shapes do: nothing that could be quantized."""
    return isinstance(tensor.dtype, np.dtype | type) and np.dtype(tensor.dtype).kind in "iub"


def _ended_input(kernel: Kernel, written: Mapping[int, Kernel], outputs: Collection[int]) -> int | None:
    """The position of the input that a kernel with weights writes for this node alone."""
    for index, tensor in enumerate(kernel.node.inputs):
        writer = written.get(id(tensor))
        alone = len(tensor.outputs) == 1 and id(tensor) not in outputs
        if alone and writer is not None and writer.weight is not None:
            return index
    return None


def _lonely(kernel: Kernel, written: Collection[int]) -> Reason | None:
    """Why it does not pay to quantize a node, given which tensors integer kernels have written before it."""
    if kernel.row.ends_kernel and kernel.ends is None:
        return Reason("it does not end a kernel with weights")
    if kernel.weight is not None or kernel.row.company is not Company.BOTH:
        return None
    if not any(id(tensor) in written for _, tensor in kernel.activations()):
        return Reason("it has no weights and nothing before it runs in integers")
    return None


def _drop_tails(plan: Plan, activations: Collection[str]) -> None:
    """Drop kernels that need readers and have none, from the end backwards, and integer outputs nobody needs."""
    read: set[int] = set()
    kept: list[Kernel] = []
    for kernel in reversed(plan.kernels):
        wanted = any(id(tensor) in read for tensor in kernel.outputs)
        if kernel.weight is None and not wanted and kernel.row.company is not Company.NONE:
            plan.refused.append((kernel.node, Reason("it has no weights and nothing after it runs in integers")))
            continue
        kernel.writes_integers = kernel.row.output is Output.REQUIRED or (
            kernel.row.output is Output.OPTIONAL and (wanted or _must_write_integers(kernel, activations))
        )
        if not kernel.writes_integers:
            kernel.output, kernel.absorbed = kernel.node.outputs[0], None
        kept.append(kernel)
        read.update(id(tensor) for _, tensor in kernel.activations())
    plan.kernels = kept[::-1]


def _must_write_integers(kernel: Kernel, activations: Collection[str]) -> bool:
    """Whether an activation function comes next, and other ops after it.

    ONNX Runtime looks for the QuantizeLinear of such a kernel behind the function, and for a kernel that writes float
    right behind it; where the one is missing and the other does not apply, the kernel stays in float.
    """
    if kernel.absorbed is not None:
        return bool(kernel.output.outputs)
    return any(reader.op in activations for reader in kernel.output.outputs)
