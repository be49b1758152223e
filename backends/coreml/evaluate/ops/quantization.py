"""Integers that stand for real values."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray


@computes("quantize")
def quantize(
    input: Array, scale: Array, output_dtype: str, zero_point: Array | None = None, axis: Array | None = None
) -> Array:
    """input / scale to the nearest integer (of two the even one), plus the zero point, held in the type's range."""
    limits = np.iinfo(np.dtype(str(output_dtype)))
    steps = np.rint(input / _along(scale, axis, input))
    if zero_point is not None:
        steps = steps + _along(zero_point, axis, input).astype(np.float32)
    return np.asarray(np.clip(steps, limits.min, limits.max).astype(limits.dtype))


@computes("dequantize")
def dequantize(input: Array, scale: Array, zero_point: Array | None = None, axis: Array | None = None) -> Array:
    """(input - zero point) scale."""
    steps = input.astype(np.int32)
    if zero_point is not None:
        steps = steps - _along(zero_point, axis, input).astype(np.int32)
    return np.asarray(steps.astype(np.float32) * _along(scale, axis, input))


@computes("constexpr_affine_dequantize")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Array) -> Array:
    """(data - zero point) scale, each of them one value or one for each index of the axis."""
    steps = quantized_data.astype(np.float32) - _along(zero_point, axis, quantized_data).astype(np.float32)
    return np.asarray(steps * _along(scale, axis, quantized_data))


@computes("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """(data - offset) scale, of which each value holds for a block."""
    steps = data.astype(np.float32)
    if offset is not None:
        steps = steps - _blocks(offset.astype(np.float32), data.shape)
    return np.asarray(steps * _blocks(scale, data.shape))


@computes("constexpr_cast")
def constexpr_cast(source_val: Array, output_dtype: str) -> Array:
    """16-bit floats in 32 bit."""
    return source_val.astype(np.float32)


@computes("constexpr_lut_to_dense")
def constexpr_lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: Array | None = None
) -> Array:
    """Values of a table at indices; before version 9 (iOS 18) the indices are packed bits and `shape` is given."""
    if shape is not None:
        bits = int(np.log2(lut.size))
        sizes = [int(size) for size in shape]
        return np.asarray(lut[_unpacked(indices, bits, int(np.prod(sizes)))].reshape(sizes))
    rank = indices.ndim
    full = lut
    for axis in range(rank):
        full = np.repeat(full, indices.shape[axis] // lut.shape[axis], axis)
    chosen = indices.astype(np.int64)[..., None, None]
    vectors = np.take_along_axis(full, np.broadcast_to(chosen, (*indices.shape, 1, lut.shape[-1])), rank)[..., 0, :]
    if lut.shape[-1] == 1:
        return vectors[..., 0]
    place = int(0 if vector_axis is None else vector_axis) % rank
    sizes = [size * (lut.shape[-1] if axis == place else 1) for axis, size in enumerate(indices.shape)]
    return np.moveaxis(vectors, -1, place + 1).reshape(sizes)


@computes("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array, shape: Array | None = None) -> Array:
    """Values where the mask is set, else zero; before version 9 (iOS 18) the mask is packed and `shape` is given."""
    sizes = mask.shape if shape is None else tuple(int(size) for size in shape)
    flat = mask.reshape(-1) if shape is None else _unpacked(mask, 1, int(np.prod(sizes)))
    result = np.zeros(int(np.prod(sizes)), nonzero_data.dtype)
    result[np.flatnonzero(flat)] = nonzero_data
    return result.reshape(sizes)


def _along(values: Array, axis: Array | None, like: Array) -> Array:
    """One value, or one for each index of the axis, to broadcast over a tensor."""
    if not values.ndim or axis is None:
        return values.reshape(())
    place = int(axis) % like.ndim
    return values.reshape([-1 if index == place else 1 for index in range(like.ndim)])


def _blocks(values: Array, shape: tuple[int, ...]) -> Array:
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """Numbers of a few bits, packed one behind the other from the lowest bit on."""
    flat = np.unpackbits(packed.reshape(-1), bitorder="little")[: count * bits].reshape(count, bits)
    return np.asarray((flat.astype(np.int64) << np.arange(bits)).sum(axis=1))
