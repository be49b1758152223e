"""Which nodes with Q/DQ around them become integer kernels, by the target's table.

A node does if all its activations come out of DequantizeLinear, its weight is stored in integers, and what it writes
goes into QuantizeLinear alone, through an activation function that the kernel ends in or that saturation computes. A
node that almost does runs in float between conversions; the remarks say why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, params_of, writer_of
from pruna_ir.backends.tflite.activations import ACTIVATIONS, clip_interval
from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.kernel import row_of
from pruna_ir.passes.quantization.lint.view import LintedKernel, QdqView, equal
from pruna_ir.passes.quantization.obstacles import unfit_attributes, unfit_constants
from pruna_ir.remarks import Reason, Remark, RemarkKind
from pruna_ir.targets import Scales, Target
from pruna_ir.targets.tflite import TFLITE, TFLITE_INT16

_EMITTER = "tflite"
# Tables by the type of activations.
_TARGETS: dict[str, Target] = {"int8": TFLITE, "int16": TFLITE_INT16}


@dataclass(eq=False)
class IntegerKernel:
    """A node that computes in integers.

    `reads` are the integer tensors that stand for its activations, by position; `writes` those that it writes;
    `activation` the function that it ends in; `swallowed` the nodes that become part of it.
    """

    node: gs.Node
    reads: dict[int, gs.Tensor]
    writes: list[gs.Tensor]
    activation: str = "NONE"
    swallowed: list[gs.Node] = field(default_factory=list)


def integer_kernels(graph: gs.Graph) -> tuple[dict[int, IntegerKernel], list[Remark]]:
    """The integer kernels of a graph by the identity of their nodes, and remarks on nodes that run in float."""
    view = QdqView(graph, TFLITE)
    found: dict[int, IntegerKernel] = {}
    remarks: list[Remark] = []
    for kernel in view.kernels:
        made = _integer_kernel(kernel, view)
        if isinstance(made, IntegerKernel):
            found[id(kernel.node)] = made
        elif made is not None:
            remarks.append(_island(kernel.node, made))
    known = {id(kernel.node) for kernel in view.kernels}
    for node in graph.nodes:
        if id(node) not in known and node.op not in (QUANTIZE, DEQUANTIZE) and _between(node):
            remarks.append(_island(node, Reason("LiteRT has no integer kernel for {}", node.op)))
    return found, remarks


def _island(node: gs.Node, reason: Reason) -> Remark:
    return Remark(RemarkKind.MISSED, _EMITTER, node_name(node), Reason("it runs in float: {}", reason))


def _between(node: gs.Node) -> bool:
    """Whether a node reads what was in integers, and writes what will be."""
    read = (writer_of(tensor) for tensor in node.inputs if not isinstance(tensor, gs.Constant))
    from_integers = any(writer is not None and writer.op == DEQUANTIZE for writer in read)
    return from_integers and any(reader.op == QUANTIZE for tensor in node.outputs for reader in tensor.outputs)


def _integer_kernel(kernel: LintedKernel, view: QdqView) -> IntegerKernel | Reason | None:
    """The integer kernel of a node, why it is none, or None if nobody wanted it to be one."""
    activations = [(tensor, dequantize) for tensor, dequantize in kernel.activations]
    if not any(dequantize is not None for _, dequantize in activations):
        return None
    for tensor, dequantize in activations:
        if dequantize is None:
            return Reason("`{}` is in float", tensor.name)
    params = [params_of(dequantize) for _, dequantize in activations if dequantize is not None]
    reason = _unfit(kernel, params)
    if reason is not None:
        return reason
    made = IntegerKernel(kernel.node, _reads(kernel), [])
    reason = _written(kernel, view, made)
    return reason or _unequal(kernel, params, made) or made


def _unfit(kernel: LintedKernel, params: list[QuantParams | None]) -> Reason | None:
    """What of the node, its activations or its weight has no integer kernel."""
    types = {item.zero_point.dtype.name for item in params if item is not None and item.axis is None}
    if len(types) != 1 or None in params or any(item is not None and item.axis is not None for item in params):
        return Reason("its activations do not have one scale each, of one type")
    target = _TARGETS.get(types.pop())
    if target is None or row_of(kernel.node, target) is None:
        return Reason(
            "there is no kernel for {} of {}", kernel.node.op, params[0].zero_point.dtype if params[0] else ""
        )
    if kernel.row.weight is not None and kernel.weight is None and kernel.kernel.weight is not None:
        return Reason("its weight is in float")
    if kernel.weight is not None:
        stored_as = params_of(kernel.weight.dequantize)
        if kernel.weight.constant.dtype != np.int8 or stored_as is None or stored_as.zero_point.any():
            return Reason("its weight is not in symmetric int8")
    return unfit_attributes(kernel.kernel) or unfit_constants(kernel.kernel)


def _reads(kernel: LintedKernel) -> dict[int, gs.Tensor]:
    """The integers behind activations. Constants stay: they are looked up when they are read."""
    sources = {
        id(tensor): dequantize.inputs[0]
        for tensor, dequantize in kernel.activations
        if dequantize is not None and not isinstance(dequantize.inputs[0], gs.Constant)
    }
    positions = enumerate(kernel.node.inputs)
    return {index: sources[id(tensor)] for index, tensor in positions if id(tensor) in sources}


def _written(kernel: LintedKernel, view: QdqView, made: IntegerKernel) -> Reason | None:
    """Fill in what the kernel writes, with what it swallows; or why it writes floats."""
    for position, tensor in enumerate(_outputs(kernel)):
        function = _function_behind(tensor, kernel, view) if position == 0 else None
        source = tensor if function is None else function.outputs[0]
        quantizer = _only_quantizer(source, view)
        if quantizer is None:
            return Reason("`{}` is read in float", source.name)
        params = params_of(quantizer)
        if params is None or params.axis is not None:
            return Reason("`{}` does not have one scale", source.name)
        if function is not None:
            name = _activation(function, params)
            if name is None:
                return Reason("the kernel does not end in {}", function.op)
            made.activation = name
            made.swallowed.append(function)
        made.swallowed.append(quantizer)
        made.writes.append(quantizer.outputs[0])
    return None


def _outputs(kernel: LintedKernel) -> list[gs.Tensor]:
    """Outputs that are used, without an activation function behind them."""
    written = kernel.node.outputs if kernel.row.all_outputs else kernel.node.outputs[:1]
    return [tensor for tensor in written if tensor.name]


def _function_behind(tensor: gs.Tensor, kernel: LintedKernel, view: QdqView) -> gs.Node | None:
    """A Relu or Clip that alone reads a tensor, if kernels of this op can end in one."""
    if id(tensor) in view.outputs or len(tensor.outputs) != 1 or not kernel.row.absorbs:
        return None
    reader: gs.Node = tensor.outputs[0]
    return reader if clip_interval(reader) is not None else None


def _activation(function: gs.Node, params: QuantParams) -> str | None:
    """The name of the function; NONE where the range of the integers clips as it does."""
    interval = clip_interval(function)
    assert interval is not None
    if interval in ACTIVATIONS:
        return ACTIVATIONS[interval]
    low, high = represented(params)
    return "NONE" if interval[0] <= low and high <= interval[1] else None


def represented(params: QuantParams) -> tuple[float, float]:
    """The interval that integers with one scale stand for."""
    info = np.iinfo(params.zero_point.dtype)
    zero, scale = int(params.zero_point), float(params.scale)
    return (info.min - zero) * scale, (info.max - zero) * scale


def _only_quantizer(tensor: gs.Tensor, view: QdqView) -> gs.Node | None:
    """The QuantizeLinear that alone reads a tensor."""
    if id(tensor) in view.outputs or len(tensor.outputs) != 1:
        return None
    reader: gs.Node = tensor.outputs[0]
    return reader if reader.op == QUANTIZE and reader.inputs[0] is tensor else None


def _unequal(kernel: LintedKernel, params: list[QuantParams | None], made: IntegerKernel) -> Reason | None:
    """Where scales are not those that the kernel wants."""
    written = [params_of(node) for node in made.swallowed if node.op == QUANTIZE]
    kinds = {item.zero_point.dtype for item in [*params, *written] if item is not None}
    if len(kinds) != 1:
        return Reason("it reads {} and writes {}", *sorted(map(str, kinds))[:2])
    read: Iterable[QuantParams | None] = params if kernel.row.scales is Scales.EQUAL else params[:1]
    if kernel.row.scales is not Scales.FREE:
        for other in [*read, *written]:
            if not equal(params[0], other):
                return Reason("what it reads and writes has different scales")
    target = _TARGETS[kinds.pop().name]
    fixed = target.ops[kernel.node.op].fixed
    if fixed is not None and not equal(fixed.params(target.activations), written[0]):
        return Reason("the kernel writes the scale {:.6g} only", fixed.scale)
    return None


def parameters(nodes: Iterable[gs.Node]) -> Mapping[int, QuantParams]:
    """Scale and zero point of the integer tensors that Q and DQ nodes write and read, by identity."""
    found: dict[int, QuantParams] = {}
    for node in nodes:
        if node.op not in (QUANTIZE, DEQUANTIZE):
            continue
        tensor = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
        params = params_of(node)
        if params is not None and not isinstance(tensor, gs.Constant):
            found.setdefault(id(tensor), params)
    return found
