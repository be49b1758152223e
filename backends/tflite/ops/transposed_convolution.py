"""Transposed convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.backends.tflite.layout_rules import SPATIAL
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.convolution import bias_of
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

# Groups become operators of their own, side by side.
_MOST_GROUPS = 64
# The operator for each number of axes, and the axes of ONNX's weight (inputs, outputs, space) in its order.
_FORMS = {2: ("TRANSPOSE_CONV", (1, 2, 3, 0)), 3: ("CONV_3D_TRANSPOSE", (2, 3, 4, 1, 0))}


@dataclass(frozen=True)
class _Geometry:
    """Two or three axes: how the weight steps, all places that it reaches, and where in them the result starts."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    reached: tuple[int, ...]
    start: tuple[int, ...]


@lowers("ConvTranspose", layout=SPATIAL)
def conv_transpose(op: Op) -> None:
    """TRANSPOSE_CONV or CONV_3D_TRANSPOSE over all places that the weight reaches; ONNX's padding is sliced off.

    Dilation is in the weight: zeros between its values. Groups run side by side. One axis becomes two.
    """
    rank = len(op.shape()) - 2
    if rank > 3:
        raise Unsupported(f"transposed convolutions over {rank} axes are not written")
    data, result = op.read(), op.write()
    wanted = result.shape
    if rank == 1:
        data, wanted = op.reshape(data, (data.shape[0], 1, *data.shape[1:])), (wanted[0], 1, *wanted[1:])
    geometry = _geometry(op, data.shape[1:-1], wanted[1:-1])
    last = result if wanted == result.shape else op.temp(wanted, result)
    shape = (wanted[0], *geometry.reached, wanted[-1])
    whole = last if shape == wanted else op.temp(shape, result)
    _convolve(op, data, whole, geometry)
    if whole is not last:
        op.emit("SLICE", [whole, op.const([0, *geometry.start, 0]), op.const(wanted)], last)
    if last is not result:
        op.tensors.reshape_into(last, result)


def _geometry(op: Op, size: tuple[int, ...], wanted: tuple[int, ...]) -> _Geometry:
    rank = len(op.shape()) - 2
    kernel = _spatial(op.shape(1)[2:], 1)
    strides, dilations = _spatial(op.attr("strides", [1] * rank), 1), _spatial(op.attr("dilations", [1] * rank), 1)
    extra = _spatial(op.attr("output_padding", [0] * rank), 0)
    parts = zip(size, strides, kernel, dilations, extra, strict=True)
    reached = [(n - 1) * s + (k - 1) * d + 1 + e for n, s, k, d, e in parts]
    mode = op.attr("auto_pad", "NOTSET")
    if op.attr("output_shape") is not None or mode in ("SAME_UPPER", "SAME_LOWER"):
        left = [r - w for r, w in zip(reached, wanted, strict=True)]
        start = [max(more // 2 if mode == "SAME_UPPER" else more - more // 2, 0) for more in left]
        reached = [max(r, w) for r, w in zip(reached, wanted, strict=True)]
    else:
        pads = [0] * rank if mode == "VALID" else op.attr("pads", [0] * (2 * rank))[:rank]
        start = list(_spatial(pads, 0))
    return _Geometry(strides, dilations, tuple(reached), tuple(start))


def _spatial(values: tuple[int, ...] | list[int], missing: int) -> tuple[int, ...]:
    """Numbers for the axes; `missing` is that of the axis that one axis gets."""
    return (missing, *values) if len(values) == 1 else tuple(values)


def _convolve(op: Op, data: Tensor, whole: Tensor, geometry: _Geometry) -> None:
    groups = op.attr("group", 1)
    if groups == 1:
        weight = _weight(op, geometry, 0, 1)
        _emit(op, data, weight, bias_of(op, data, weight, whole.shape[-1]), whole, geometry)
        return
    if groups > _MOST_GROUPS:
        raise Unsupported(f"its {groups} groups would become as many operators")
    if op.integer:
        raise Unsupported("transposed convolutions in groups have no integer kernel")
    biases = np.split(op.required(2, "bias") if op.has(2) else np.zeros(whole.shape[-1]), groups)
    channels, parts = data.shape[-1] // groups, []
    for group in range(groups):
        starts, sizes = [*[0] * (len(data.shape) - 1), group * channels], [*data.shape[:-1], channels]
        part = op.apply("SLICE", [data, op.const(starts), op.const(sizes)], sizes, data)
        parts.append(op.temp((*whole.shape[:-1], whole.shape[-1] // groups), whole))
        bias = op.const(biases[group], np.float32)
        _emit(op, part, _weight(op, geometry, group, groups), bias, parts[-1], geometry)
    op.emit("CONCATENATION", [*parts], whole, axis=len(whole.shape) - 1, fusedActivationFunction="NONE")


def _emit(op: Op, data: Tensor, weight: Tensor, bias: Tensor, result: Tensor, geometry: _Geometry) -> None:
    code, _ = _FORMS[len(geometry.strides)]
    strides = dict(zip(("strideD", "strideH", "strideW")[-len(geometry.strides) :], geometry.strides, strict=True))
    op.emit(code, [op.const(result.shape), weight, data, bias], result, padding="VALID", **strides)


def _weight(op: Op, geometry: _Geometry, group: int, groups: int) -> Tensor:
    _, order = _FORMS[len(geometry.strides)]
    if op.constant(1) is None:
        return _computed_weight(op, geometry, order)

    def change(array: np.ndarray) -> np.ndarray:
        array = array[:, :, None] if array.ndim == 3 else array
        array = np.split(array, groups)[group]
        reach = [(n - 1) * d + 1 for n, d in zip(array.shape[2:], geometry.dilations, strict=True)]
        spread = np.zeros((*array.shape[:2], *reach), array.dtype)
        spread[(slice(None), slice(None), *(slice(None, None, step) for step in geometry.dilations))] = array
        return spread.transpose(order)

    return op.weight(1, change, order.index)


def _computed_weight(op: Op, geometry: _Geometry, order: tuple[int, ...]) -> Tensor:
    """A weight that is computed, moved into place as the model runs."""
    if op.integer or op.attr("group", 1) > 1 or max(geometry.dilations) > 1:
        raise Unsupported("its weight is computed, which LiteRT takes in float, without groups and dilation")
    if len(op.shape(1)) > 3:
        return op.read(1, order)
    weight = op.read(1, (1, 2, 0))
    return op.reshape(weight, (weight.shape[0], 1, *weight.shape[1:]))
