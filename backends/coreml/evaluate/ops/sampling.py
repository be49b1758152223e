"""Reading images at coordinates that are data."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.resizing import _grid
from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray


@computes("resample")
def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Array,
    coordinates_mode: str,
    align_corners: Array | bool,
) -> Array:
    """x [B, C, H, W] at coordinates [B, H2, W2, 2], which are (x, y)."""
    places = [
        _pixel(coordinates[..., axis].astype(np.float64), size, coordinates_mode, bool(align_corners))
        for axis, size in ((0, x.shape[3]), (1, x.shape[2]))
    ]
    parts = [
        _read(image, across, down, sampling_mode, padding_mode, padding_value)
        for image, across, down in zip(x, *places, strict=True)
    ]
    return np.stack(parts)


@computes("affine")
def affine(
    x: Array,
    transform_matrix: Array,
    output_height: Array,
    output_width: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Array,
    coordinates_mode: str,
    align_corners: Array | bool,
) -> Array:
    """x at the pixels of the result, moved by the six numbers of a transformation."""
    down, across = np.meshgrid(np.arange(int(output_height)), np.arange(int(output_width)), indexing="ij")
    sizes = (int(output_width), int(output_height))
    ends = [_from_pixel(line, size, coordinates_mode, bool(align_corners))
            for line, size in zip((across, down), sizes, strict=True)]  # fmt: skip
    points = np.stack([*ends, np.ones_like(ends[0])], -1)
    moved = np.einsum("hwk,bjk->bhwj", points, transform_matrix.reshape(-1, 2, 3).astype(np.float64))
    every = np.broadcast_to(moved, (x.shape[0], *moved.shape[1:]))
    return np.asarray(resample(x, every, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners))


@computes("crop_resize")
def crop_resize(
    x: Array,
    version: int,
    boxes: Array | None = None,
    box_indices: Array | None = None,
    roi: Array | None = None,
    target_height: Array | int = 1,
    target_width: Array | int = 1,
    normalized_coordinates: Array | bool = False,
    spatial_scale: Array | float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Array | float = 0.0,
) -> Array:
    """Boxes of images, each resized to one size, with a value where a box is outside its image.

    Before version 8 (iOS 17) the boxes are `roi` [N, 1, 4 or 5, 1, 1], of which five begin with the image's index and
    four are taken of every image.
    """
    height, width = x.shape[2:]
    if roi is not None:
        flat = roi.reshape(len(roi), -1)
        owners = [[int(row[0])] if len(row) == 5 else list(range(len(x))) for row in flat]
        corners = flat[:, -4:]
    else:
        assert boxes is not None
        owners = [[int(owner)] for owner in (np.arange(len(boxes)) if box_indices is None else box_indices)]
        corners = boxes
    limits = _corners(corners.astype(np.float64) * float(spatial_scale), box_coordinate_mode)
    if normalized_coordinates:
        limits = limits * np.asarray([height - 1, width - 1, height - 1, width - 1])
    crops = []
    for (top, left, bottom, right), images in zip(limits, owners, strict=True):
        down = _box_grid(sampling_mode, top, bottom, int(target_height))
        across = _box_grid(sampling_mode, left, right, int(target_width))
        columns, rows = np.meshgrid(across, down)
        crops.append(np.stack([_read(x[image], columns, rows, "bilinear", "crop", pad_value) for image in images]))
    return np.stack(crops) if roi is not None else np.concatenate(crops)


def _box_grid(mode: str, begin: float, end: float, wanted: int) -> Array:
    return np.asarray(begin + _grid_of_length(mode, end - begin, wanted))


def _grid_of_length(mode: str, length: float, wanted: int) -> Array:
    """The places of `_grid`, over an axis whose first and last pixel are `length` apart."""
    return _grid(mode, length + 1, wanted)  # type: ignore[arg-type]


def _corners(boxes: Array, mode: str) -> Array:
    """Boxes as top, left, bottom, right."""
    ordered = boxes if mode.endswith("HEIGHT_FIRST") else boxes[:, [1, 0, 3, 2]]
    if mode.startswith("CORNERS"):
        return ordered
    return np.concatenate([ordered[:, :2] - ordered[:, 2:] / 2, ordered[:, :2] + ordered[:, 2:] / 2], 1)


def _pixel(values: Array, size: int, mode: str, align: bool) -> Array:
    """Pixels, from coordinates of a mode."""
    if mode == "unnormalized":
        return values
    share = (values + 1) / 2 if mode == "normalized_minus_one_to_one" else values
    return share * (size - 1) if align else share * size - 0.5


def _from_pixel(pixels: Array, size: int, mode: str, align: bool) -> Array:
    """Coordinates of a mode, from pixels."""
    if mode == "unnormalized":
        return pixels.astype(np.float64)
    share = pixels / max(size - 1, 1) if align else (pixels + 0.5) / size
    return share * 2 - 1 if mode == "normalized_minus_one_to_one" else share


def _read(image: Array, across: Array, down: Array, sampling: str, padding: str, value: Array | float) -> Array:
    """An image [C, H, W] at pixels between its own."""
    if padding == "crop":
        # A place outside the image is outside altogether: nothing is read between the border and the padding.
        outside = (across < 0) | (across > image.shape[2] - 1) | (down < 0) | (down > image.shape[1] - 1)
        inner = _read(image, across, down, sampling, "border", value)
        return np.where(outside, np.asarray(value, image.dtype), inner)
    if sampling == "nearest":
        # Halves go up: so Core ML Tools' own tests have it.
        return _at(image, np.floor(across + 0.5), np.floor(down + 0.5), padding, value)
    left, top = np.floor(across), np.floor(down)
    right_share, bottom_share = (across - left).astype(np.float32), (down - top).astype(np.float32)
    result = np.zeros((image.shape[0], *across.shape), np.float32)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (bottom_share if row else 1 - bottom_share) * (right_share if column else 1 - right_share)
        result += share * _at(image, left + column, top + row, padding, value)
    return result


def _at(image: Array, across: Array, down: Array, padding: str, value: Array | float) -> Array:
    """Pixels of an image [C, H, W], with something around it."""
    columns, rows = (
        _folded(places.astype(np.int64), size, padding)
        for places, size in ((across, image.shape[2]), (down, image.shape[1]))
    )
    found = image[:, rows, columns]
    if padding != "constant":
        return found
    outside = (across < 0) | (across >= image.shape[2]) | (down < 0) | (down >= image.shape[1])
    return np.where(outside, np.asarray(value, image.dtype), found)


def _folded(places: Array, size: int, padding: str) -> Array:
    """Places outside, folded back: reflected at the border pixels, or behind them (symmetric); else the border."""
    if padding == "reflection" and size > 1:
        around = places % (2 * (size - 1))
        return np.asarray(np.minimum(around, 2 * (size - 1) - around))
    if padding == "symmetric":
        around = places % (2 * size)
        return np.asarray(np.minimum(around, 2 * size - 1 - around))
    return np.asarray(np.clip(places, 0, size - 1))
