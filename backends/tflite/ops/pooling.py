"""Pooling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruna_ir.backends.tflite.layout_rules import SPATIAL
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.convolution import pad_spatial
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers
from pruna_ir.backends.windows import Windows, windows_of, with_rows


@lowers("GlobalAveragePool", layout=SPATIAL)
def global_average(op: Op) -> None:
    """MEAN over the spatial axes."""
    _over_space(op, "MEAN")


@lowers("GlobalMaxPool", layout=SPATIAL)
def global_max(op: Op) -> None:
    """REDUCE_MAX over the spatial axes."""
    _over_space(op, "REDUCE_MAX")


def _over_space(op: Op, code: str) -> None:
    axes = op.const(np.arange(1, len(op.shape()) - 1))
    op.emit(code, [op.read(), axes], op.write(), keepDims=True)


@lowers("MaxPool", layout=SPATIAL, activates=True)
def max_pool(op: Op) -> None:
    """MAX_POOL_2D, behind padding with the lowest value where the operator does not pad so by itself."""
    if op.writes(1):
        raise Unsupported("its indices are asked for, which LiteRT does not give")
    windows, data, result = _prepared(op)
    if windows.padding is None:
        data, windows = _padded_with_lowest(op, data, windows), _without_padding(windows)
    _pool(op, "MAX_POOL_2D", windows, data, result)


@lowers("AveragePool", layout=SPATIAL, activates=True)
def average_pool(op: Op) -> None:
    """AVERAGE_POOL_2D, which counts no padding. Where ONNX counts other places, a factor for each corrects that."""
    windows, data, result = _prepared(op)
    counted = bool(op.attr("count_include_pad", 0)) and any([*windows.before, *windows.after])
    if windows.padding is not None and not counted:
        _pool(op, "AVERAGE_POOL_2D", windows, data, result)
        return
    factors = _corrections(windows, counted)
    if op.integer and (factors != 1).any():
        raise Unsupported("padding like this has no integer kernel")
    after = tuple(a + max(more, 0) for a, more in zip(windows.after, windows.excess, strict=True))
    data, windows = pad_spatial(op, data, windows.before, after), _without_padding(windows)
    if (factors == 1).all():
        _pool(op, "AVERAGE_POOL_2D", windows, data, result)
        return
    means = op.temp(result.shape, result)
    _pool(op, "AVERAGE_POOL_2D", windows, data, means, activation="NONE")
    factors = factors.reshape(factors.shape[-len(result.shape) :])  # without rows, if there is one axis
    op.emit("MUL", [means, op.const(factors, np.float32)], result, fusedActivationFunction=op.activation)


def _prepared(op: Op) -> tuple[Windows, Tensor, Tensor]:
    """Windows over two axes, the data and where the result goes, with rows if there is one spatial axis."""
    kernel = tuple(op.attr("kernel_shape"))
    windows, data, result = windows_of(op, kernel), op.read(0), op.write(0)
    if max(windows.dilations) > 1:
        raise Unsupported("dilated pooling has no operator")
    if len(kernel) == 1:
        return with_rows(windows), op.reshape(data, (data.shape[0], 1, *data.shape[1:])), result
    if len(kernel) > 2:
        raise Unsupported(f"pooling over {len(kernel)} axes has no operator")
    return windows, data, result


def _pool(op: Op, code: str, windows: Windows, data: Tensor, result: Tensor, activation: str | None = None) -> None:
    rows = len(result.shape) == 3
    written = op.temp((result.shape[0], 1, *result.shape[1:]), result) if rows else result
    op.emit(
        code,
        [data],
        written,
        padding=windows.padding,
        filterHeight=windows.kernel[0],
        filterWidth=windows.kernel[1],
        strideH=windows.strides[0],
        strideW=windows.strides[1],
        fusedActivationFunction=activation or op.activation,
    )
    if rows:
        op.tensors.reshape_into(written, result)


def _padded_with_lowest(op: Op, data: Tensor, windows: Windows) -> Tensor:
    """Data with padding that no maximum is taken from.

    That is zero where nothing is negative: XNNPACK pads with zeros, and with nothing else.
    """
    after = tuple(a + max(more, 0) for a, more in zip(windows.after, windows.excess, strict=True))
    if op.never_negative() or _ends_at_zero(data):
        return pad_spatial(op, data, windows.before, after)
    pads = [(0, 0), *zip(windows.before, after, strict=True), (0, 0)]
    lowest = -np.inf if data.dtype.kind == "f" else np.iinfo(data.dtype).min
    value = op.tensors.raw(np.array([lowest], data.dtype), f"{op.name}/lowest", data.quantization)
    shape = [n + b + a for n, (b, a) in zip(data.shape, pads, strict=True)]
    return op.apply("PADV2", [data, op.const(pads), value], shape, data)


def _ends_at_zero(data: Tensor) -> bool:
    """Whether the lowest integer stands for zero."""
    quantization = data.quantization
    return quantization is not None and bool((quantization.zero_point == np.iinfo(data.dtype).min).all())


def _without_padding(windows: Windows) -> Windows:
    """The same windows over data that has been padded."""
    more = (max(excess, 0) for excess in windows.excess)
    sizes = zip(windows.size, windows.before, windows.after, more, strict=True)
    none = (0,) * len(windows.size)
    return replace(windows, size=tuple(n + b + a + e for n, b, a, e in sizes), before=none, after=none, ceil=False)


def _corrections(windows: Windows, counted: bool) -> np.ndarray:
    """For each window the places that it has by the places that ONNX counts, shaped as rows, columns and a channel."""
    factors = [_places(windows, axis, counted) for axis in range(len(windows.size))]
    area = np.prod(windows.kernel)
    product = factors[0]
    for other in factors[1:]:
        product = product[..., None] * other
    return np.asarray(area / product)[None, ..., None].astype(np.float32)


def _places(windows: Windows, axis: int, counted: bool) -> np.ndarray:
    """How many places of each window along an axis count: those of the data, and of the padding if that is counted."""
    starts = np.arange(windows.results[axis]) * windows.strides[axis] - windows.before[axis]
    low = -windows.before[axis] if counted else 0
    high = windows.size[axis] + (windows.after[axis] if counted else 0)
    ends = np.minimum(starts + windows.kernel[axis], high)
    return np.asarray(ends - np.maximum(starts, low), np.float64)
