"""From nodes to kernels: activation functions and Q/DQ become part of the operators that they stand around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, stored, writer_of
from pruna_ir.backends.tflite.activations import ACTIVATIONS, clip_interval
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.quantized import IntegerKernel, integer_kernels, parameters
from pruna_ir.backends.tflite.table import Entry
from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.remarks import Remark


@dataclass
class Contraction:
    """The kernels of a graph in order, its border, and scale and zero point of tensors by identity.

    With integers at the border, `inputs` and `outputs` are what stands behind and before the conversions; the names
    stay.
    """

    kernels: list[Kernel]
    inputs: list[gs.Tensor]
    outputs: list[gs.Tensor]
    input_names: list[str]
    output_names: list[str]
    params: Mapping[int, QuantParams] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)


def contract(graph: gs.Graph, entries: Mapping[str, Entry], *, integer_border: bool = False) -> Contraction:
    """The kernels of a graph. `integer_border` leaves out conversions of inputs and outputs from and to float."""
    integers, remarks = integer_kernels(graph)
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    dropped: set[int] = set()
    if integer_border:
        inputs = [_behind(tensor, dropped, outputs) for tensor in inputs]
        outputs = [_before(tensor, dropped) for tensor in outputs]
    kernels = _Builder(entries, integers, {id(tensor) for tensor in graph.outputs}, dropped).kernels(graph.nodes)
    names = _names(graph.inputs), _names(graph.outputs)
    return Contraction(_needed(kernels, outputs), inputs, outputs, *names, parameters(graph.nodes), remarks)


class _Builder:
    """Makes kernels of nodes, in order."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        integers: Mapping[int, IntegerKernel],
        outputs: set[int],
        dropped: set[int],
    ) -> None:
        self._entries, self._integers, self._outputs = entries, integers, outputs
        self._swallowed = dropped | {id(node) for kernel in integers.values() for node in kernel.swallowed}

    def kernels(self, nodes: Sequence[gs.Node]) -> list[Kernel]:
        """One kernel for each node that is not part of another one."""
        made = []
        for node in nodes:
            if id(node) not in self._swallowed and not _is_stored(node):
                made.append(self._kernel(node))
        return made

    def _kernel(self, node: gs.Node) -> Kernel:
        found = self._integers.get(id(node))
        if found is not None:
            inputs = [found.reads.get(index, tensor) for index, tensor in enumerate(node.inputs)]
            return Kernel(node, inputs, [*found.writes], found.activation, integer=True)
        if node.op == QUANTIZE:
            return _conversion(node)
        kernel = Kernel(node, list(node.inputs), list(node.outputs))
        entry = self._entries.get(kernel.op)
        behind = self._activation_behind(node) if entry is not None and entry.activates else None
        if behind is not None:
            kernel.activation, function = behind
            kernel.outputs[0] = function.outputs[0]
            self._swallowed.add(id(function))
        return kernel

    def _activation_behind(self, node: gs.Node) -> tuple[str, gs.Node] | None:
        """The Relu or Clip that alone reads what a node writes, if operators can end in it."""
        written = node.outputs[0]
        if id(written) in self._outputs or len(written.outputs) != 1 or np.dtype(written.dtype).kind != "f":
            return None
        reader = written.outputs[0]
        interval = clip_interval(reader)
        name = None if interval is None else ACTIVATIONS.get(interval)
        return None if name is None or id(reader) in self._integers else (name, reader)


def _conversion(node: gs.Node) -> Kernel:
    """A QuantizeLinear; from one scale to another if a DequantizeLinear stands before it."""
    writer = writer_of(node.inputs[0])
    if writer is None or writer.op != DEQUANTIZE or isinstance(writer.inputs[0], gs.Constant):
        return Kernel(node, list(node.inputs), list(node.outputs))
    return Kernel(node, [writer.inputs[0], *node.inputs[1:]], list(node.outputs), integer=True)


def _needed(kernels: list[Kernel], outputs: Sequence[gs.Tensor]) -> list[Kernel]:
    """The kernels without those whose results nobody reads: DequantizeLinear before integer kernels."""
    read = {id(tensor) for tensor in outputs}
    kept = []
    for kernel in reversed(kernels):
        if any(id(tensor) in read for tensor in kernel.outputs):
            kept.append(kernel)
            read |= {id(tensor) for tensor in kernel.inputs}
    return kept[::-1]


def _behind(tensor: gs.Tensor, dropped: set[int], outputs: Sequence[gs.Tensor]) -> gs.Tensor:
    """The integers of a graph input that only a QuantizeLinear reads."""
    readers = tensor.outputs
    if len(readers) != 1 or readers[0].op != QUANTIZE or any(tensor is output for output in outputs):
        return tensor
    dropped.add(id(readers[0]))
    return readers[0].outputs[0]


def _before(tensor: gs.Tensor, dropped: set[int]) -> gs.Tensor:
    """The integers that a graph output is made of by a DequantizeLinear."""
    writer = writer_of(tensor)
    if writer is None or writer.op != DEQUANTIZE or isinstance(writer.inputs[0], gs.Constant):
        return tensor
    if not tensor.outputs:
        dropped.add(id(writer))
    integers: gs.Tensor = writer.inputs[0]
    return integers


def _names(tensors: Sequence[gs.Tensor]) -> list[str]:
    return [str(tensor.name) for tensor in tensors]


def _is_stored(node: gs.Node) -> bool:
    return bool(node.op == DEQUANTIZE and stored(node.outputs[0]) is not None)
