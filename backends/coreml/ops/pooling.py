"""Pooling over windows and over everything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import product
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
        parts = _places(op, op.read(), windows, _lowest(op.dtype()))
        op.write(reduce(lambda x, y: op("maximum", x=x, y=y), parts))
        return
    op.write(_pool(op, "max_pool", op.read(), windows, past_the_end(windows)))


@lowers("AveragePool")
def average_pool(op: Op) -> None:
    """avg_pool; where padding counts, zeros are written out, as what goes past the end never does."""
    windows = windows_of(op, tuple(op.attr("kernel_shape")))
    counted = bool(op.attr("count_include_pad", 0))
    if any(number > 1 for number in windows.dilations):
        shares = (1 / _counts(windows, counted)).astype(np.float32)
        op.write(op("mul", x=_total(op, op.read(), windows), y=shares))
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


def _places(op: Op, data: Any, windows: Windows, empty: float) -> list[Any]:
    """One place of all windows after the other, for windows with gaps; `empty` is what is around the image."""
    padding = [0, 0, 0, 0, *interleaved(windows.before, past_the_end(windows))]
    if any(padding):
        data = op("pad", x=data, pad=padding, mode="constant", constant_val=empty)
    return [
        op(
            "slice_by_index",
            x=data,
            begin=[0, 0, *starts],
            end=[*op.shape()[:2], *ends],
            stride=[1, 1, *windows.strides],
        )
        for starts, ends in _spans(windows)
    ]


def _spans(windows: Windows) -> Iterator[tuple[list[int], list[int]]]:
    """Where each place of a window begins, and ends, along the axes."""
    for places in product(*map(range, windows.kernel)):
        starts = [place * d for place, d in zip(places, windows.dilations, strict=True)]
        spans = zip(starts, windows.results, windows.strides, strict=True)
        yield starts, [start + (count - 1) * step + 1 for start, count, step in spans]


def _total(op: Op, data: Any, windows: Windows) -> Any:
    """The sum of each window."""
    return reduce(lambda x, y: op("add", x=x, y=y), _places(op, data, windows, 0.0))


def _counts(windows: Windows, counted: bool) -> np.ndarray:
    """How many places of each window count: those on the image, and on the padding if that is `counted`."""
    ones = np.pad(
        np.ones(windows.size), [*zip(windows.before, windows.after, strict=True)], constant_values=float(counted)
    )
    inside = np.pad(ones, [(0, max(extra, 0)) for extra in windows.excess])
    total = np.zeros(windows.results)
    for starts, ends in _spans(windows):
        total += inside[tuple(map(slice, starts, ends, windows.strides))]
    return total


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
        return _total(op, data, windows)
    padding = [0, 0, 0, 0, *interleaved(windows.before, past_the_end(windows))]
    data = op("pad", x=data, pad=padding, mode="constant", constant_val=0.0) if any(padding) else data
    bare = _without_padding(windows)
    mean = _pool(op, "avg_pool", data, bare, tuple(0 for _ in bare.size))
    return op("mul", x=mean, y=float(np.prod(windows.kernel)))
