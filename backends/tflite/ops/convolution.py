"""Convolutions."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.layout_rules import SPATIAL
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.volumes import conv_3d
from pruna_ir.backends.tflite.program import Quantization, Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers
from pruna_ir.backends.windows import Windows, windows_of, with_rows

# The axes of ONNX's weight (filters, channels, rows, columns) in the order of the runtime's.
_FILTERS_FIRST = (0, 2, 3, 1)
_DEPTHWISE = (1, 2, 3, 0)


@lowers("Conv", layout=SPATIAL, activates=True)
def conv(op: Op) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D; one spatial axis becomes two with a height of one."""
    shape = op.shape(1)
    if len(shape) == 5:
        conv_3d(op)
        return
    if len(shape) not in (3, 4):
        raise Unsupported(f"convolutions over {len(shape) - 2} axes are not written")
    windows = windows_of(op, shape[2:])
    data = op.read(0)
    if len(shape) == 3:
        windows, data = with_rows(windows), op.reshape(data, (data.shape[0], 1, *data.shape[1:]))
    data, padding = padded_data(op, data, windows)
    groups, channels = op.attr("group", 1), data.shape[-1]
    depthwise = groups == channels and groups > 1
    weight = _weight(op, depthwise)
    bias = bias_of(op, data, weight, shape[0])
    options = {
        "padding": padding,
        "strideH": windows.strides[0],
        "strideW": windows.strides[1],
        "dilationHFactor": windows.dilations[0],
        "dilationWFactor": windows.dilations[1],
        "fusedActivationFunction": op.activation,
    }
    if depthwise:
        options["depthMultiplier"] = shape[0] // channels
    result = op.write()
    written = result if len(shape) == 4 else op.temp((result.shape[0], 1, *result.shape[1:]), result)
    op.emit("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [data, weight, bias], written, **options)
    if written is not result:
        op.tensors.reshape_into(written, result)


def _weight(op: Op, depthwise: bool) -> Tensor:
    order = _DEPTHWISE if depthwise else _FILTERS_FIRST
    if op.constant(1) is None:
        return _computed_weight(op, order)

    def change(array: np.ndarray) -> np.ndarray:
        return (array if array.ndim == 4 else array[:, :, None, :]).transpose(order)

    return op.weight(1, change, order.index, hybrid=depthwise or op.attr("group", 1) == 1)


def _computed_weight(op: Op, order: tuple[int, ...]) -> Tensor:
    """A weight that is computed, moved into place as the model runs."""
    if op.integer:
        raise Unsupported("its weight is computed, and in integers LiteRT needs a constant")
    rank = len(op.shape(1))
    if rank == 4:
        return op.read(1, order)
    rows = tuple(axis if axis < 2 else axis - 1 for axis in order if axis != 2)
    shape = [op.shape(1)[axis] if axis < 2 else 1 if axis == 2 else op.shape(1)[2] for axis in order]
    return op.reshape(op.read(1, rows), shape)


def padded_data(op: Op, data: Tensor, windows: Windows) -> tuple[Tensor, str]:
    """The data with the padding that the operator does not do by itself, and what it does by itself."""
    padding = windows.padding
    if padding is not None:
        return data, padding
    excess = [max(more, 0) for more in windows.excess]
    after = [a + more for a, more in zip(windows.after, excess, strict=True)]
    return pad_spatial(op, data, windows.before, tuple(after)), "VALID"


def pad_spatial(op: Op, data: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> Tensor:
    """Zeros (the zero point, in integers) around the spatial axes; negative numbers cut off."""
    if min(*before, *after) < 0:
        starts = [0, *(max(-b, 0) for b in before), 0]
        sizes = [
            n - max(-b, 0) - max(-a, 0) for n, b, a in zip(data.shape, (0, *before, 0), (0, *after, 0), strict=True)
        ]
        data = op.apply("SLICE", [data, op.const(starts), op.const(sizes)], sizes, data)
        before, after = tuple(max(b, 0) for b in before), tuple(max(a, 0) for a in after)
    if not any(before) and not any(after):
        return data
    pads = [(0, 0), *zip(before, after, strict=True), (0, 0)]
    shape = [n + b + a for n, (b, a) in zip(data.shape, pads, strict=True)]
    return op.apply("PAD", [data, op.const(pads)], shape, data)


def bias_of(op: Op, data: Tensor, weight: Tensor, size: int) -> Tensor:
    """The bias; zeros where there is none. In integers its scale is that of the data times those of the weight."""
    if op.integer:
        return _integer_bias(op, data, weight, size)
    if not op.has(2):
        return op.const(np.zeros(size), np.float32)
    return op.tensors.read(op.kernel.inputs[2], (0,))


def _integer_bias(op: Op, data: Tensor, weight: Tensor, size: int) -> Tensor:
    assert data.quantization is not None and weight.quantization is not None
    scale = (data.quantization.scale * weight.quantization.scale).astype(np.float32)
    units = Quantization(scale, np.zeros(scale.shape, np.int64))
    wide = np.int64 if data.dtype == np.int16 else np.int32
    values = np.zeros(size) if not op.has(2) else op.required(2, "bias").astype(np.float64)
    info = np.iinfo(np.int32)
    stored = np.clip(np.rint(values / scale.astype(np.float64)), info.min, info.max).astype(wide)
    return op.tensors.raw(stored, f"{op.name}/bias", units)
