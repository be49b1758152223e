"""Pooling over windows and over everything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.windows import interleaved
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported
from pruna_ir.backends.windows import Windows, windows_of

_GLOBAL = {"GlobalAveragePool": "reduce_mean", "GlobalMaxPool": "reduce_max"}


@lowers("MaxPool")
def max_pool(op: Op) -> None:
    """max_pool; windows that go past the end are padded, with what no maximum sees."""
    if op.writes(1):
        raise Unsupported("Core ML does not tell where the maximum was")
    windows = windows_of(op, tuple(op.attr("kernel_shape")))
    if any(number > 1 for number in windows.dilations):
        op.write(_spaced(op, "maximum", op.read(), windows, _lowest(op.dtype())))
        return
    op.write(_pool(op, "max_pool", op.read(), windows, past_the_end(windows)))


@lowers("AveragePool")
def average_pool(op: Op) -> None:
    """avg_pool; where padding counts, zeros are written out, as what goes past the end never does."""
    windows = windows_of(op, tuple(op.attr("kernel_shape")))
    counted = bool(op.attr("count_include_pad", 0))
    if any(number > 1 for number in windows.dilations):
        shares = (1 / _counts(windows, counted)).astype(np.float32)
        op.write(op("mul", x=_spaced(op, "add", op.read(), windows), y=shares))
        return
    data, after = op.read(), past_the_end(windows)
    if counted and any(windows.excess[axis] > 0 for axis in range(len(windows.size))):
        padding = [0, 0, 0, 0, *interleaved(windows.before, windows.after)]
        data = op("pad", x=data, pad=padding, mode="constant", constant_val=0.0)
        rest = tuple(max(number, 0) for number in windows.excess)
        windows = _without_padding(windows)
        after, counted = rest, False
    op.write(_pool(op, "avg_pool", data, windows, after, exclude_padding_from_average=not counted))


def past_the_end(windows: Windows) -> tuple[int, ...]:
    """Padding behind, with what the last windows need where they go past it."""
    return tuple(after + max(extra, 0) for after, extra in zip(windows.after, windows.excess, strict=True))


def _without_padding(windows: Windows) -> Windows:
    none = tuple(0 for _ in windows.size)
    size = tuple(n + b + a for n, b, a in zip(windows.size, windows.before, windows.after, strict=True))
    return Windows(size, windows.kernel, windows.strides, windows.dilations, none, none, windows.ceil)


def _pool(op: Op, kind: str, data: Any, windows: Windows, after: tuple[int, ...], **options: Any) -> Any:
    return op(
        kind,
        x=data,
        kernel_sizes=list(windows.kernel),
        strides=list(windows.strides),
        pad_type="custom",
        pad=interleaved(windows.before, after),
        **options,
    )


def _spaced(op: Op, kind: str, data: Any, windows: Windows, empty: float = 0.0) -> Any:
    """The maximum or the sum of each window, for windows with gaps: along one axis after the other, place by place.

    `empty` is what is around the image.
    """
    after = past_the_end(windows)
    padding = [0, 0, 0, 0, *interleaved(windows.before, after)]
    if any(padding):
        data = op("pad", x=data, pad=padding, mode="constant", constant_val=empty)
    shape = [*op.shape()[:2], *(sum(sizes) for sizes in zip(windows.before, windows.size, after, strict=True))]
    for axis, step in enumerate(windows.strides, start=2):
        stride = [1] * len(shape)
        stride[axis] = step
        parts = []
        for start, end in _spans(windows, axis - 2):
            begin, ends = [0] * len(shape), list(shape)
            begin[axis], ends[axis] = start, end
            parts.append(op("slice_by_index", x=data, begin=begin, end=ends, stride=stride))
        data = reduce(lambda x, y: op(kind, x=x, y=y), parts)
        shape[axis] = windows.results[axis - 2]
    return data


def _spans(windows: Windows, axis: int) -> Iterator[tuple[int, int]]:
    """Where each place of the windows begins and ends along an axis."""
    for place in range(windows.kernel[axis]):
        start = place * windows.dilations[axis]
        yield start, start + (windows.results[axis] - 1) * windows.strides[axis] + 1


def _counts(windows: Windows, counted: bool) -> np.ndarray:
    """How many places of each window count: those on the image, and on the padding if that is `counted`."""
    lines = []
    for axis, size in enumerate(windows.size):
        around = (windows.before[axis], windows.after[axis])
        line = np.pad(np.ones(size), around, constant_values=float(counted))
        line = np.pad(line, (0, max(windows.excess[axis], 0)))
        lines.append(sum(line[start : end : windows.strides[axis]] for start, end in _spans(windows, axis)))
    return np.asarray(reduce(np.multiply.outer, lines))


def _lowest(dtype: np.dtype) -> float:
    return -np.inf if dtype.kind == "f" else float(np.iinfo(dtype).min)


@lowers(*_GLOBAL)
def global_pool(op: Op) -> None:
    """reduce_mean, reduce_max over all spatial axes."""
    op.write(op(_GLOBAL[op.op], x=op.read(), axes=list(range(2, op.rank())), keep_dims=True))


@lowers("LpPool", "GlobalLpPool")
def lp_pool(op: Op) -> None:
    """The root of a sum of powers: of a mean of windows, times their size, or of everything."""
    power = int(op.attr("p", 2))
    data = op("abs", x=op.read())
    data = data if power == 1 else op("pow", x=data, y=float(power))
    if op.op == "GlobalLpPool":
        total = op("reduce_sum", x=data, axes=list(range(2, op.rank())), keep_dims=True)
    else:
        windows = windows_of(op, tuple(op.attr("kernel_shape")))
        total = _windowed(op, data, windows)
    op.write(total if power == 1 else op("pow", x=total, y=1.0 / power))


def _windowed(op: Op, data: Any, windows: Windows) -> Any:
    """The sum of each window: its mean, times its size."""
    if any(number > 1 for number in windows.dilations):
        return _spaced(op, "add", data, windows)
    padding = [0, 0, 0, 0, *interleaved(windows.before, past_the_end(windows))]
    data = op("pad", x=data, pad=padding, mode="constant", constant_val=0.0) if any(padding) else data
    bare = _without_padding(windows)
    mean = _pool(op, "avg_pool", data, bare, tuple(0 for _ in bare.size))
    return op("mul", x=mean, y=float(np.prod(windows.kernel)))
