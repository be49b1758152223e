"""Resizing, and reading images at places between their pixels."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import ints

Array = np.ndarray


@computes("upsample_nearest_neighbor")
def upsample_nearest_neighbor(x: Array, scale_factor_height: Array, scale_factor_width: Array) -> Array:
    """The last two axes by factors, each pixel of the result the one at its place divided by the factor."""
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        size = int(np.floor(x.shape[axis] * float(factor)))
        x = _nearest(x, axis, np.arange(size) / float(factor))
    return x


@computes("resize_nearest_neighbor")
def resize_nearest_neighbor(x: Array, target_size_height: Array, target_size_width: Array) -> Array:
    """The last two axes to sizes, each pixel of the result the one under its centre."""
    for axis, size in ((-2, int(target_size_height)), (-1, int(target_size_width))):
        x = _nearest(x, axis, (np.arange(size) + 0.5) * x.shape[axis] / size)
    return x


@computes("upsample_bilinear")
def upsample_bilinear(
    x: Array,
    scale_factor_height: Array,
    scale_factor_width: Array,
    align_corners: Array | bool = True,
    half_pixel_centers: Array | bool | None = None,
) -> Array:
    """The last two axes by factors, between pixels; the factor is what the rounded sizes make of it."""
    half = not align_corners if half_pixel_centers is None else bool(half_pixel_centers)
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        x = _linear(x, axis, _grid(mode, x.shape[axis], int(np.floor(x.shape[axis] * float(factor)))))
    return x


@computes("resize_bilinear")
def resize_bilinear(x: Array, target_size_height: Array, target_size_width: Array, sampling_mode: str) -> Array:
    """The last two axes to sizes, between pixels."""
    for axis, size in ((-2, int(target_size_height)), (-1, int(target_size_width))):
        x = _linear(x, axis, _grid(sampling_mode, x.shape[axis], size))
    return x


@computes("resize")
def resize(
    x: Array,
    shape: Array,
    resized_dims: Array,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last axes to sizes, of which 0 means as it is.

    To the nearest pixel: by default the one under the centre, as `resize_nearest_neighbor` has it, which Core ML Tools
    take it for; in other modes the documentation leaves open where halves go. Here they go up.
    """
    count = int(resized_dims)
    for axis, wanted in zip(range(-count, 0), ints(shape)[len(shape) - count :], strict=True):
        size = wanted or x.shape[axis]
        if interpolation_mode == "LINEAR":
            x = _linear(x, axis, _grid(sampling_mode, x.shape[axis], size))
        elif sampling_mode == "DEFAULT":
            x = _nearest(x, axis, (np.arange(size) + 0.5) * x.shape[axis] / size)
        else:
            x = _nearest(x, axis, _grid(sampling_mode, x.shape[axis], size) + 0.5)
    return x


def _grid(mode: str, size: int, wanted: int) -> Array:
    """Where the pixels of the result lie between those of an axis, not held inside it."""
    place = np.arange(wanted, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if wanted == 1:
            return place if mode == "STRICT_ALIGN_CORNERS" else place + (size - 1) / 2
        return place * (size - 1) / (wanted - 1)
    if mode == "UNALIGN_CORNERS":
        return (place + 0.5) * size / wanted - 0.5
    if mode == "OFFSET_CORNERS":
        return (place + 0.5) * max(1, size - 1) / wanted
    return place * size / wanted


def _nearest(x: Array, axis: int, places: Array) -> Array:
    indices = np.clip(np.floor(places).astype(np.int64), 0, x.shape[axis] - 1)
    return np.asarray(np.take(x, indices, axis))


def _linear(x: Array, axis: int, places: Array) -> Array:
    """Values between neighbours along an axis."""
    inside = np.clip(places, 0, x.shape[axis] - 1)
    below = np.floor(inside).astype(np.int64)
    above = np.minimum(below + 1, x.shape[axis] - 1)
    share = (inside - below).astype(np.float32).reshape(-1, *[1] * (-1 - axis))
    return np.asarray(np.take(x, below, axis) * (1 - share) + np.take(x, above, axis) * share)
