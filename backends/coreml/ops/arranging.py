"""Values of images in another arrangement, and other operators that know where a value stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.broadcasting import choose
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.coreml.types import held
from pruna_ir.backends.unsupported import Unsupported

# Products that are written one after the other.
_MOST_FACTORS = 64


@lowers("DepthToSpace")
def depth_to_space(op: Op) -> None:
    """depth_to_space, or pixel_shuffle where columns of a block are neighbours (CRD)."""
    size = int(op.attr("blocksize"))
    if op.attr("mode", "DCR") == "CRD":
        op.write(op("pixel_shuffle", x=op.read(), upscale_factor=size))
    else:
        op.write(op("depth_to_space", x=op.read(), block_size=size))


@lowers("SpaceToDepth")
def space_to_depth(op: Op) -> None:
    """space_to_depth, or pixel_unshuffle where columns of a block are neighbours (CRD)."""
    size = int(op.attr("blocksize"))
    if op.attr("mode", "DCR") == "CRD":
        op.write(op("pixel_unshuffle", x=op.read(), downscale_factor=np.uint32(size)))
    else:
        op.write(op("space_to_depth", x=op.read(), block_size=size))


@lowers("CumSum")
def cumulative_sum(op: Op) -> None:
    """cumsum."""
    axis = int(op.required(1, "axis").reshape(())) % op.rank()
    options = {key: bool(op.attr(key, 0)) for key in ("exclusive", "reverse")}
    op.write(op("cumsum", x=op.read(), axis=axis, **options))


@lowers("CumProd")
def cumulative_product(op: Op) -> None:
    """One product after the other."""
    axis = int(op.required(1, "axis").reshape(())) % op.rank()
    shape = list(op.shape())
    if shape[axis] > _MOST_FACTORS:
        raise Unsupported(f"Core ML multiplies no sequences, and {shape[axis]} products are too many to write out")
    count, shape[axis] = shape[axis], 1
    parts = [op.read()] if count == 1 else list(op("split", x=op.read(), num_splits=count, axis=axis))
    parts = parts[::-1] if op.attr("reverse", 0) else parts
    if op.attr("exclusive", 0):
        ones = np.ones(shape, held(op.dtype(), op.ios))
        parts = [op("identity", x=ones), *parts[:-1]]
    found = parts[:1]
    for part in parts[1:]:
        found.append(op("mul", x=found[-1], y=part))
    op.write(op("concat", values=found[::-1] if op.attr("reverse", 0) else found, axis=axis))


@lowers("Trilu")
def triangle(op: Op) -> None:
    """A choice by a mask."""
    offset = int(op.required(1, "diagonal").reshape(())) if op.has(1) else 0
    rows, columns = op.shape()[-2:]
    triangular = np.triu if op.attr("upper", 1) else np.tril
    mask = triangular(np.ones((rows, columns)), offset).astype(np.bool_)
    op.write(choose(op, mask, op.read(), 0))


@lowers("EyeLike")
def eye_like(op: Op) -> None:
    """A constant."""
    rows, columns = op.shape()
    op.write(op("identity", x=np.eye(rows, columns, int(op.attr("k", 0)), held(op.result_dtype(), op.ios))))


@lowers("ReverseSequence")
def reverse_sequence(op: Op) -> None:
    """reverse_sequence."""
    time, batch = int(op.attr("time_axis", 0)), int(op.attr("batch_axis", 1))
    op.write(op("reverse_sequence", x=op.read(), lengths=op.read(1), seq_axis=time, batch_axis=batch))


@lowers("AffineGrid")
def affine_grid(op: Op) -> None:
    """Places of pixels times the matrices."""
    sizes = [int(size) for size in op.required(1, "size")[2:]]
    lines = [_places(size, bool(op.attr("align_corners", 0))) for size in sizes]
    along = np.meshgrid(*lines, indexing="ij")[::-1]  # x comes first
    places = np.stack([*along, np.ones(sizes)], -1).reshape(1, -1, len(sizes) + 1)
    moved = op("matmul", x=places.astype(np.float32), y=op.read(), transpose_y=True)
    op.write(op("reshape", x=moved, shape=[op.shape()[0], *sizes, len(sizes)]))


def _places(size: int, align: bool) -> np.ndarray:
    """Of the pixels of an axis whose ends, the last pixels or their outer edges, are at -1 and 1."""
    if align and size == 1:
        raise Unsupported("the corners of a single pixel cannot be aligned")
    if align:
        return np.linspace(-1, 1, size)
    return (2 * np.arange(size) + 1) / size - 1


# Reflected at the border pixels; where those are inside by half of one, at their outer edges.
_PADDING = {"zeros": "constant", "border": "border", "reflection": "symmetric"}
_ALIGNED_PADDING = {**_PADDING, "reflection": "reflection"}
_SAMPLING = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest"}


@lowers("GridSample")
def grid_sample(op: Op) -> None:
    """resample."""
    mode, padding = op.attr("mode", "linear"), op.attr("padding_mode", "zeros")
    if mode not in _SAMPLING or op.rank() != 4:
        raise Unsupported(f"Core ML samples images, linearly or the nearest, not {mode} with {op.rank()} axes")
    align = bool(op.attr("align_corners", 0))
    coordinates, counted = op.read(1), "normalized_minus_one_to_one"
    if mode == "nearest":  # ONNX takes the even one of two that are as near
        coordinates, counted = op("round", x=_pixels(op, coordinates, align)), "unnormalized"
    op.write(
        op(
            "resample",
            x=op.read(),
            coordinates=coordinates,
            sampling_mode=_SAMPLING[mode],
            padding_mode=(_ALIGNED_PADDING if align else _PADDING)[padding],
            padding_value=0.0,
            coordinates_mode=counted,
            align_corners=align,
        )
    )


def _pixels(op: Op, coordinates: Any, align: bool) -> Any:
    """Coordinates from -1 to 1 as those of pixels."""
    height, width = op.shape()[-2:]
    sizes = np.array([width, height], np.float32)
    shifted = op("add", x=coordinates, y=1.0)
    if align:
        return op("mul", x=shifted, y=(sizes - 1) / 2)
    return op("sub", x=op("mul", x=shifted, y=sizes / 2), y=0.5)
