"""Gathers and scatters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray
# Since specification version 8 (iOS 17) negative indices are out of bounds, where nothing is promised.
_NO_NEGATIVE = 8


@computes("gather")
def gather(
    x: Array,
    indices: Array,
    axis: Array | int,
    version: int,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,
) -> Array:
    """Slices of x at indices along an axis; the first `batch_dims` axes are those of both."""
    place, batch = int(axis) % x.ndim, int(batch_dims)
    where = _within(indices, x.shape[place], version)
    if not batch:
        return np.asarray(np.take(x, where, place))
    lead = x.shape[:batch]
    rows = x.reshape(-1, *x.shape[batch:])
    chosen = where.reshape(len(rows), *where.shape[batch:])
    parts = [np.take(row, index, place - batch) for row, index in zip(rows, chosen, strict=True)]
    return np.stack(parts).reshape(*lead, *parts[0].shape)


@computes("gather_along_axis")
def gather_along_axis(
    x: Array, indices: Array, axis: Array | int, version: int, validate_indices: Array | bool = False
) -> Array:
    """Of each line along the axis, the values at its indices."""
    return np.take_along_axis(x, _within(indices, x.shape[int(axis)], version), int(axis))


@computes("gather_nd")
def gather_nd(
    x: Array, indices: Array, version: int, batch_dims: Array | int = 0, validate_indices: Array | bool = False
) -> Array:
    """Slices of x at the places that the last axis of the indices names."""
    batch, depth = int(batch_dims), indices.shape[-1]
    where = _within_each(indices, x.shape[batch : batch + depth], version)
    rows = x.reshape(-1, *x.shape[batch:])
    chosen = where.reshape(len(rows), *where.shape[batch:])
    parts = [row[tuple(np.moveaxis(index, -1, 0))] for row, index in zip(rows, chosen, strict=True)]
    return np.stack(parts).reshape(*x.shape[:batch], *parts[0].shape)


@computes("scatter")
def scatter(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int,
    mode: str,
    version: int,
    validate_indices: Array | bool = False,
) -> Array:
    """A copy of the data, with slices along an axis combined with the updates."""
    place = int(axis) % data.ndim
    where = (slice(None),) * place + (_within(indices, data.shape[place], version),)
    return _combined(data, where, updates, mode)


@computes("scatter_along_axis")
def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int,
    mode: str,
    version: int,
    validate_indices: Array | bool = False,
) -> Array:
    """A copy of the data, with the values at the indices of each line along the axis combined with the updates."""
    place = int(axis) % data.ndim
    where: list[Array] = list(np.indices(indices.shape, sparse=True))
    where[place] = _within(indices, data.shape[place], version)
    return _combined(data, tuple(where), updates, mode)


@computes("scatter_nd")
def scatter_nd(
    data: Array,
    indices: Array,
    updates: Array,
    mode: str,
    version: int,
    validate_indices: Array | bool = False,
) -> Array:
    """A copy of the data, with the slices that the last axis of the indices names combined with the updates."""
    where = _within_each(indices, data.shape[: indices.shape[-1]], version)
    return _combined(data, tuple(np.moveaxis(where, -1, 0)), updates, mode)


_COMBINE: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
}


def _combined(data: Array, where: tuple[Any, ...], updates: Array, mode: str) -> Array:
    result = data.copy()
    if mode == "update":
        result[where] = updates
    else:
        _COMBINE[str(mode)](result, where, updates)
    return result


def _within(indices: Array, size: int, version: int) -> Array:
    """Indices along an axis of a size, counted from its start."""
    whole = indices.astype(np.int64)
    lowest = 0 if version >= _NO_NEGATIVE else -size
    if whole.size and (whole.min() < lowest or whole.max() >= size):
        raise IndexError(f"an index of {int(whole.min())} to {int(whole.max())} is outside {lowest} to {size - 1}")
    return np.where(whole < 0, whole + size, whole)


def _within_each(indices: Array, sizes: tuple[int, ...], version: int) -> Array:
    parts = [_within(indices[..., axis], size, version) for axis, size in enumerate(sizes)]
    return np.stack(parts, -1) if parts else indices.astype(np.int64)
