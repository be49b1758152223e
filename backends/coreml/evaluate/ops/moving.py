"""Operators that move values and compute nothing."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import ints

Array = np.ndarray
# Since specification version 8 (iOS 17) a 0 in a new shape is counted from the last axis.
_COUNTED_FROM_LAST = 8


@computes("reshape")
def reshape(x: Array, shape: Array, version: int) -> Array:
    """Another shape; -1 is what is left over, 0 the size of the axis at the same place."""
    wanted = list(ints(shape))
    shift = x.ndim - len(wanted) if version >= _COUNTED_FROM_LAST else 0
    for index, size in enumerate(wanted):
        if size == 0:
            wanted[index] = x.shape[index + shift] if 0 <= index + shift < x.ndim else 1
    return x.reshape(wanted)


@computes("reshape_like")
def reshape_like(
    x: Array, ref_tensors: list[Array], begins: list[Array], ends: list[Array], end_masks: list[Array]
) -> Array:
    """The shape is put together of parts of other tensors' shapes."""
    shape: list[int] = []
    for tensor, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += tensor.shape[int(begin) : None if to_the_end else int(end)]
    return x.reshape(shape)


@computes("flatten2d")
def flatten2d(x: Array, axis: Array) -> Array:
    """Two axes: what comes before the axis, and the rest."""
    split = int(axis) if int(axis) >= 0 else int(axis) + x.ndim
    return x.reshape(int(np.prod(x.shape[:split])), -1)


@computes("transpose")
def transpose(x: Array, perm: Array) -> Array:
    """Axes in another order."""
    return x.transpose(ints(perm))


@computes("expand_dims")
def expand_dims(x: Array, axes: Array) -> Array:
    """New axes of size 1."""
    return np.expand_dims(x, ints(axes))


@computes("squeeze")
def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Without axes of size 1; others that are named stay."""
    named = range(x.ndim) if axes is None else (axis % x.ndim for axis in ints(axes))
    return np.squeeze(x, tuple(axis for axis in set(named) if x.shape[axis] == 1))


@computes("concat")
def concat(values: list[Array], axis: Array, interleave: Array | bool = False) -> Array:
    """Tensors behind each other, or in turns, along an axis."""
    if not interleave:
        return np.concatenate(values, int(axis))
    place = int(axis) % values[0].ndim
    shape = [size * (len(values) if index == place else 1) for index, size in enumerate(values[0].shape)]
    return np.stack(values, place + 1).reshape(shape)


@computes("stack")
def stack(values: list[Array], axis: Array) -> Array:
    """Tensors along a new axis."""
    return np.stack(values, int(axis))


@computes("split")
def split(x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None) -> list[Array]:
    """Parts along an axis, of the given sizes or of equal ones."""
    if split_sizes is None:
        assert num_splits is not None
        return np.split(x, int(num_splits), int(axis))
    return np.split(x, np.cumsum(ints(split_sizes))[:-1], int(axis))


@computes("reverse")
def reverse(x: Array, axes: Array | None = None) -> Array:
    """The opposite order along axes, all of them if none are given."""
    return np.flip(x, None if axes is None else ints(axes))


@computes("reverse_sequence")
def reverse_sequence(x: Array, lengths: Array, seq_axis: Array, batch_axis: Array) -> Array:
    """The opposite order of the first values of each sample, as many as its length."""
    moved = np.moveaxis(x, (int(batch_axis), int(seq_axis)), (0, 1))
    result = moved.copy()
    for sample, length in enumerate(ints(lengths)):
        result[sample, :length] = moved[sample, :length][::-1]
    return np.moveaxis(result, (0, 1), (int(batch_axis), int(seq_axis)))


@computes("depth_to_space")
def depth_to_space(x: Array, block_size: Array) -> Array:
    """Blocks of channels become pixels; the place in the block is the outer part of the channel."""
    batch, channels, height, width = x.shape
    block = int(block_size)
    parts = x.reshape(batch, block, block, channels // block**2, height, width)
    return parts.transpose(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


@computes("space_to_depth")
def space_to_depth(x: Array, block_size: Array) -> Array:
    """Blocks of pixels become channels; the place in the block is the outer part of the channel."""
    batch, channels, height, width = x.shape
    block = int(block_size)
    parts = x.reshape(batch, channels, height // block, block, width // block, block)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)


@computes("pixel_shuffle")
def pixel_shuffle(x: Array, upscale_factor: Array) -> Array:
    """Blocks of channels become pixels; the place in the block is the inner part of the channel."""
    batch, channels, height, width = x.shape
    factor = int(upscale_factor)
    parts = x.reshape(batch, channels // factor**2, factor, factor, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * factor, width * factor)


@computes("pixel_unshuffle")
def pixel_unshuffle(x: Array, downscale_factor: Array) -> Array:
    """Blocks of pixels become channels; the place in the block is the inner part of the channel."""
    batch, channels, height, width = x.shape
    factor = int(downscale_factor)
    parts = x.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, height // factor, width // factor)


@computes("space_to_batch")
def space_to_batch(x: Array, block_shape: Array, paddings: Array) -> Array:
    """Blocks of pixels, after padding, become samples; the place in the block is the outer part."""
    rows, columns = ints(block_shape)
    (top, bottom), (left, right) = np.asarray(paddings).tolist()
    batch, channels, height, width = (full := np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])).shape
    parts = full.reshape(batch, channels, height // rows, rows, width // columns, columns)
    return parts.transpose(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // rows, width // columns)


@computes("batch_to_space")
def batch_to_space(x: Array, block_shape: Array, crops: Array) -> Array:
    """Samples become blocks of pixels, which are cropped; the place in the block is the outer part of the sample."""
    rows, columns = ints(block_shape)
    (top, bottom), (left, right) = np.asarray(crops).tolist()
    samples, channels, height, width = x.shape
    parts = x.reshape(rows, columns, samples // (rows * columns), channels, height, width)
    full = parts.transpose(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * rows, width * columns)
    return full[:, :, top : height * rows - bottom, left : width * columns - right]
