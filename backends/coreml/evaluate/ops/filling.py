"""Operators that make tensors, or fill them up."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import ints, pairs

Array = np.ndarray


@computes("fill")
def fill(shape: Array, value: Array) -> Array:
    """One value everywhere."""
    return np.full(ints(shape), value)


@computes("fill_like")
def fill_like(ref_tensor: Array, value: Array) -> Array:
    """One value everywhere, in the shape of another tensor."""
    return np.full(ref_tensor.shape, value)


@computes("range_1d")
def range_1d(end: Array, start: Array, step: Array) -> Array:
    """Numbers from start to end, which is not one of them."""
    return np.arange(start.item(), end.item(), step.item())


@computes("shape")
def shape(x: Array) -> Array:
    """The sizes of the axes."""
    return np.asarray(x.shape, np.int32)


@computes("tile")
def tile(x: Array, reps: Array) -> Array:
    """Copies beside each other along each axis."""
    return np.tile(x, ints(reps))


@computes("one_hot")
def one_hot(indices: Array, one_hot_vector_size: Array, axis: Array, on_value: Array, off_value: Array) -> Array:
    """A new axis with the one value at the index, and the other everywhere else: for indices outside, everywhere."""
    size = int(one_hot_vector_size)
    hits = np.asarray(indices)[..., None] == np.arange(size)
    place = int(axis) if int(axis) >= 0 else int(axis) + hits.ndim
    return np.where(np.moveaxis(hits, -1, place), on_value, off_value)


@computes("band_part")
def band_part(x: Array, lower: Array, upper: Array) -> Array:
    """Zero outside a band around the diagonal of the last two axes; a negative width has no end."""
    rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
    below, above = int(lower), int(upper)
    inside = ((below < 0) | (rows - columns <= below)) & ((above < 0) | (columns - rows <= above))
    return np.where(inside, x, np.zeros_like(x))


@computes("cumsum")
def cumsum(x: Array, axis: Array, exclusive: Array | bool = False, reverse: Array | bool = False) -> Array:
    """Sums of all values up to each one, without itself if exclusive, from the end if reverse."""
    place = int(axis)
    ordered = np.flip(x, place) if reverse else x
    sums = np.cumsum(ordered, place, dtype=x.dtype)
    if exclusive:
        sums = sums - ordered
    return np.flip(sums, place) if reverse else sums


@computes("pad")
def pad(x: Array, pad: Array, mode: str = "constant", constant_val: Array | float = 0.0) -> Array:
    """Values before and behind the last axes: a constant, or the tensor's own, reflected or replicated."""
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + pairs(pad)
    if mode == "constant":
        return np.pad(x, widths, constant_values=np.asarray(constant_val, x.dtype))
    return np.pad(x, widths, "reflect") if mode == "reflect" else np.pad(x, widths, "edge")
