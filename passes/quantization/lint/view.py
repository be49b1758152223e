"""What the linter sees of a graph: kernels with the Q/DQ that stand around them, whichever tool has put them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir import registry
from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, Stored, params_of, stored, writer_of
from pruna_ir.calibration.scheme import QuantParams, Scheme
from pruna_ir.passes.quantization.kernel import Kernel, kernel_of, row_of, weight_axis
from pruna_ir.targets import OpRow, Output, Target


@dataclass(frozen=True)
class LintedKernel:
    """A node that the target has a row for. Parameters that a rule of their own complains about are None."""

    kernel: Kernel
    activations: tuple[tuple[gs.Tensor, gs.Node | None], ...]
    weight: Stored | None
    bias: Stored | None
    quantizers: tuple[gs.Node | None, ...]

    @property
    def quantizer(self) -> gs.Node | None:
        """The QuantizeLinear behind its first output."""
        return self.quantizers[0]

    @property
    def node(self) -> gs.Node:
        """The node itself."""
        return self.kernel.node

    @property
    def row(self) -> OpRow:
        """The target's row for it."""
        return self.kernel.row

    @property
    def weighted(self) -> bool:
        """Whether it has a weight: a constant, in integers or in float."""
        return self.weight is not None or self.kernel.weight is not None

    @property
    def float_inputs(self) -> list[gs.Tensor]:
        """The activations that no DequantizeLinear writes."""
        return [tensor for tensor, writer in self.activations if writer is None]

    @property
    def quantized(self) -> bool:
        """Whether it was meant to run in integers: its weight is stored in them, or all it reads and writes is."""
        if self.weighted:
            return self.weight is not None
        rounded = all(node is not None for node in self.quantizers)
        written = rounded or self.row.output is not Output.REQUIRED
        return bool(self.activations) and written and not self.float_inputs

    @property
    def input_params(self) -> list[QuantParams | None]:
        """Scale and zero point of each activation that is read in integers."""
        return [params_of(writer) for _, writer in self.activations if writer is not None]

    @property
    def output_params(self) -> list[QuantParams | None]:
        """Scale and zero point of each output that is written in integers."""
        return [params_of(node) for node in self.quantizers if node is not None]

    @property
    def weight_axis(self) -> int:
        """The axis along which the weight may have scales."""
        assert self.weight is not None
        return weight_axis(self.node, self.row, len(self.weight.constant.shape))


class QdqView:
    """The Q/DQ of a graph for the rules to look at; sub-graphs are not looked into.

    `tables` are the target's by the type of activations: where its runtime has kernels for wider ones too, a graph may
    hold both.
    """

    def __init__(self, graph: gs.Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        tables = [target, *([cast("Target", registry.target(target.wider))] if target.wider else [])]
        self.tables = {table.activations.dtype: table for table in tables}
        self.own = {id(node) for node in graph.nodes}
        self.outputs = {id(tensor) for tensor in graph.outputs}
        self.inputs = {id(tensor) for tensor in graph.inputs}

    @cached_property
    def kernels(self) -> list[LintedKernel]:
        """All nodes that the target has a row for and that compute with real numbers."""
        found = ((node, row_of(node, self.table(node))) for node in self.graph.nodes)
        return [self._look(node, row) for node, row in found if row is not None and node.outputs and _is_real(node)]

    @property
    def quantized(self) -> Iterator[LintedKernel]:
        """The kernels that were meant to run in integers."""
        return (kernel for kernel in self.kernels if kernel.quantized)

    def nodes(self, op: str) -> Iterator[gs.Node]:
        """The nodes of an op of ONNX's."""
        return (node for node in self.graph.nodes if node.op == op)

    @cached_property
    def weights(self) -> set[int]:
        """The ids of the DequantizeLinear nodes that kernels read weights from."""
        return {id(kernel.weight.dequantize) for kernel in self.kernels if kernel.weight is not None}

    @cached_property
    def biases(self) -> set[int]:
        """The ids of those that kernels read biases from."""
        return {id(kernel.bias.dequantize) for kernel in self.kernels if kernel.bias is not None}

    @cached_property
    def activations(self) -> set[int]:
        """The ids of those that kernels read activations from."""
        return {id(dq) for kernel in self.kernels for _, dq in kernel.activations if dq is not None}

    def table(self, node: gs.Node) -> Target:
        """The table for a node, by the integers that it reads."""
        read = (_dequantizer(tensor) for tensor in node.inputs)
        params = (params_of(one) for one in read if one is not None and not isinstance(one.inputs[0], gs.Constant))
        known = (self.tables.get(found.zero_point.dtype) for found in params if found is not None)
        return next((table for table in known if table is not None), self.target)

    def scheme(self, quantize: gs.Node) -> Scheme:
        """The scheme of activations with the type that a QuantizeLinear writes, or the target's own."""
        found = params_of(quantize)
        table = self.target if found is None else self.tables.get(found.zero_point.dtype, self.target)
        return table.activations

    def _look(self, node: gs.Node, row: OpRow) -> LintedKernel:
        kernel = kernel_of(node, row, self.outputs, self.own)
        if row.ends_kernel:
            kernel.ends = self._ended(node)
        weight = stored(node.inputs[row.weight]) if row.weight is not None and row.weight < len(node.inputs) else None
        chosen = kernel.activations()
        read = [(i, tensor) for i, tensor in chosen if not (tensor.is_empty() or (weight and i == row.weight))]
        positions = {index for index, _ in read} | {row.weight}
        biases = [stored(tensor) for i, tensor in enumerate(node.inputs) if i not in positions] if weight else []
        return LintedKernel(
            kernel,
            tuple((tensor, _dequantizer(tensor)) for _, tensor in read),
            weight,
            next((bias for bias in biases if bias is not None), None),
            (self._quantizer(kernel.output) or self._quantizer(node.outputs[0]), *self._further(kernel)),
        )

    def _further(self, kernel: Kernel) -> list[gs.Node | None]:
        used = (tensor for tensor in kernel.outputs[1:] if tensor.outputs or id(tensor) in self.outputs)
        return [self._quantizer(tensor) for tensor in used]

    def _ended(self, node: gs.Node) -> int | None:
        """The position of an input that a kernel with a stored weight writes for this node alone."""
        for index, tensor in enumerate(node.inputs):
            writer = writer_of(tensor)
            row = row_of(writer, self.table(writer)) if writer is not None else None
            if writer is None or row is None or row.weight is None or len(tensor.outputs) != 1:
                continue
            if id(tensor) not in self.outputs and stored(writer.inputs[row.weight]) is not None:
                return index
        return None

    def _quantizer(self, tensor: gs.Tensor) -> gs.Node | None:
        return next((reader for reader in tensor.outputs if reader.op == QUANTIZE), None)


def _dequantizer(tensor: gs.Tensor) -> gs.Node | None:
    writer = writer_of(tensor)
    return writer if writer is not None and writer.op == DEQUANTIZE else None


def _is_real(node: gs.Node) -> bool:
    dtype = node.outputs[0].dtype
    return dtype is None or np.dtype(dtype).kind == "f"


def equal(one: QuantParams | None, other: QuantParams | None) -> bool:
    """Whether two scales and zero points are the same, bit for bit; what is not known is not held against them."""
    if one is None or other is None:
        return True
    same_shape = one.scale.shape == other.scale.shape and one.axis == other.axis
    return same_shape and bool((one.scale == other.scale).all() and (one.zero_point == other.zero_point).all())
