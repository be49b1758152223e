"""What keeps a node from being an integer kernel, wherever it stands: each check gives the reason.

Most are seen in the graph; `unfit_for` needs what calibration has seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, params_of
from pruna_ir.calibration.record import Record
from pruna_ir.passes.quantization.kernel import Kernel
from pruna_ir.remarks import Reason

# Values of this size stand for infinity (masks hold the lowest float32): no scale holds them and others.
AS_GOOD_AS_INFINITE = 1e30


def obstacle(kernel: Kernel, nodes: Collection[int], dtype: np.dtype) -> Reason | None:
    """Why the kernel cannot be, or None. `nodes` are the ids of the nodes of its graph, `dtype` is its activations'."""
    for check in (_types, unfit_attributes, unfit_constants, _weight, _widths, _bias, _constants):
        if (reason := check(kernel)) is not None:
            return reason
    if (reason := _quantized_already(kernel, dtype)) is not None:
        return reason
    for tensor in kernel.outputs:
        if any(id(reader) not in nodes for reader in tensor.outputs):
            return Reason("a sub-graph reads `{}`", tensor.name)
    return None


def _types(kernel: Kernel) -> Reason | None:
    for tensor in [*(tensor for _, tensor in kernel.activations()), kernel.node.outputs[0]]:
        if tensor.dtype != np.float32:
            return Reason("`{}` is {}, not float32", tensor.name, tensor.dtype)
    further = [] if kernel.row.all_outputs else [tensor.name for tensor in kernel.node.outputs[1:] if tensor.name]
    return Reason("the integer kernel does not write `{}`", further[0]) if further else None


def unfit_attributes(kernel: Kernel) -> Reason | None:
    """Which attribute has a value that the integer kernel does not take, or None."""
    for attribute, wanted in kernel.row.requires.items():
        found = kernel.node.attrs.get(attribute, wanted)
        if any(value != wanted for value in (found if isinstance(found, list) else [found])):
            return Reason("the integer kernel needs {}={}, not {}", attribute, wanted, found)
    for attribute, unwanted in kernel.row.refuses.items():
        if kernel.node.attrs.get(attribute) == unwanted:
            return Reason("there is no integer kernel with {}={}", attribute, unwanted)
    return None


def unfit_constants(kernel: Kernel) -> Reason | None:
    """Which constant input has another value than the integer kernel insists on, or None."""
    for index, wanted in kernel.row.constants.items():
        tensor = kernel.node.inputs[index] if index < len(kernel.node.inputs) else None
        if tensor is None or tensor.is_empty():
            continue
        if not isinstance(tensor, gs.Constant) or not bool((tensor.values == wanted).all()):
            return Reason("the integer kernel needs `{}` to be {}", tensor.name, wanted)
    return None


def _weight(kernel: Kernel) -> Reason | None:
    node, row, weight = kernel.node, kernel.row, kernel.weight
    if row.weight is None:
        return None
    if weight is None:
        read_as_activation = row.weight in (row.inputs or ())
        return None if read_as_activation else Reason("its weight `{}` is not a constant", node.inputs[row.weight].name)
    rank = len(weight.shape)
    if rank < 2:
        return Reason("its weight `{}` is a vector", weight.name)
    if row.weight_rank is not None and rank > row.weight_rank:
        return Reason(
            "its weight `{}` has {} dimensions, the integer kernel takes {}", weight.name, rank, row.weight_rank
        )
    return Reason("its weight `{}` is empty", weight.name) if 0 in weight.shape else None


def _widths(kernel: Kernel) -> Reason | None:
    if kernel.weight is None or kernel.row.widths is None:
        return None
    inputs, outputs = kernel.input_channels, kernel.channels
    if kernel.row.widths.hold(inputs, outputs):
        return None
    return Reason("with {} input and {} output channels the integer kernel is slower", inputs, outputs)


def _bias(kernel: Kernel) -> Reason | None:
    if kernel.bias is None:
        return None
    node, index = kernel.bias
    bias = node.inputs[index]
    if not isinstance(bias, gs.Constant):
        return Reason("its bias `{}` is not a constant", bias.name)
    channels = kernel.channels
    *others, last = bias.shape or (1,)
    if any(size != 1 for size in others) or last not in (1, channels):
        return Reason("its bias `{}` is not one number for each of {} channels", bias.name, channels)
    return None


def _constants(kernel: Kernel) -> Reason | None:
    for _, tensor in kernel.activations():
        if not isinstance(tensor, gs.Constant):
            continue
        if 0 in tensor.shape:
            return Reason("its constant `{}` is empty", tensor.name)
        largest = float(np.abs(tensor.values).max())
        if not largest < AS_GOOD_AS_INFINITE:  # NaN included
            return Reason("its constant `{}` holds {:.3g}, as good as infinite", tensor.name, largest)
    return None


def _quantized_already(kernel: Kernel, dtype: np.dtype) -> Reason | None:
    """Whether it runs in integers, or stands beside such as its own would round again."""
    activations = [tensor for _, tensor in kernel.activations() if not isinstance(tensor, gs.Constant)]
    read = {tensor.name: _integers(node) for tensor in activations for node in tensor.inputs if node.op == DEQUANTIZE}
    outputs = kernel.outputs
    written = {tensor.name: _integers(node) for tensor in outputs for node in tensor.outputs if node.op == QUANTIZE}
    for name, found in (*read.items(), *written.items()):
        if found is None or found.itemsize >= dtype.itemsize:
            return Reason("`{}` is quantized already", name)
    if kernel.weight is None and len(read) == len(activations) and len(written) == len(outputs):
        return Reason("it runs in {} already", next(iter(written.values())))
    return None


def _integers(node: gs.Node) -> np.dtype | None:
    """The integers of a Q or DQ node, if its scale and zero point are constants."""
    params = params_of(node)
    return None if params is None else params.zero_point.dtype


def unfit_for(kernel: Kernel, records: Mapping[str, Record]) -> Reason | None:
    """Why 8 bits cannot hold what a kernel reads or writes, as far as it was calibrated."""
    tensors = [*(tensor for _, tensor in kernel.activations()), kernel.output]
    for tensor in tensors:
        reason = _unfit(tensor.name, records[tensor.name]) if tensor.name in records else None
        if reason is not None:
            return reason
    return None


def _unfit(name: str, record: Record) -> Reason | None:
    """Masks are the case to watch: all zero for full-length samples, and for others as good as minus infinity."""
    if record.nan:
        return Reason("`{}` holds NaN in the calibration samples", name)
    largest = max(abs(record.minimum), abs(record.maximum)) if record.minimum <= record.maximum else 0.0
    if record.infinite or largest >= AS_GOOD_AS_INFINITE:
        return Reason("`{}` holds {:.3g}, as good as infinite", name, np.inf if record.infinite else largest)
    if largest == 0.0:
        return Reason("`{}` is zero in all calibration samples: its range is unknown", name)
    return None
