"""Slices."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import ints

Array = np.ndarray


@computes("slice_by_index")
def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """From begin to end in steps, as numpy slices; a mask drops a bound, or takes one value and drops the axis."""
    return x[_selection(x.ndim, begin, end, stride, begin_mask, end_mask, squeeze_mask)]


@computes("slice_update")
def slice_update(
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """A copy with other values at the slice."""
    result = x.copy()
    result[_selection(x.ndim, begin, end, stride, begin_mask, end_mask, squeeze_mask)] = update
    return result


@computes("slice_by_size")
def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """So many values from begin on; -1 is all that follow."""
    starts = [start if start >= 0 else start + extent for start, extent in zip(ints(begin), x.shape, strict=True)]
    bounds = zip(starts, ints(size), strict=True)
    return x[tuple(slice(start, None if count == -1 else start + count) for start, count in bounds)]


@computes("sliding_windows")
def sliding_windows(x: Array, axis: Array, size: Array, stride: Array | int = 1) -> Array:
    """All windows along an axis, on a new axis behind it."""
    place = int(axis) % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, int(size), place)
    steps = (slice(None),) * place + (slice(None, None, int(stride)),)
    return np.moveaxis(windows[steps], -1, place + 1)


@computes("crop")
def crop(x: Array, crop_height: Array, crop_width: Array) -> Array:
    """Without rows and columns at the borders."""
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _selection(
    rank: int,
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[int | slice, ...]:
    begins, ends = ints(begin), ints(end)
    steps = (1,) * rank if stride is None else ints(stride)
    no_begin, no_end, single = (
        (0,) * rank if mask is None else ints(mask) for mask in (begin_mask, end_mask, squeeze_mask)
    )
    return tuple(
        (0 if no_begin[axis] else begins[axis])
        if single[axis]
        else slice(None if no_begin[axis] else begins[axis], None if no_end[axis] else ends[axis], steps[axis])
        for axis in range(rank)
    )
