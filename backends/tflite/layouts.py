"""Layouts: in which order the axes of a tensor are stored.

A layout is a permutation: axis `i` of what is stored is axis `layout[i]` of the ONNX tensor. The identity stores it as
ONNX has it; channels-last stores N, H, W, C.
"""

from __future__ import annotations

from collections.abc import Sequence

Layout = tuple[int, ...]
Shape = tuple[int, ...]


def identity(rank: int) -> Layout:
    """The order of ONNX."""
    return tuple(range(rank))


def channels_last(rank: int) -> Layout:
    """Batch, spatial axes, channels; below three dimensions there is nothing to move."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def inverse(layout: Sequence[int]) -> Layout:
    """The stored position of every ONNX axis."""
    positions = [0] * len(layout)
    for stored, axis in enumerate(layout):
        positions[axis] = stored
    return tuple(positions)


def stored_shape(shape: Sequence[int], layout: Layout) -> Shape:
    """The shape of what is stored."""
    return tuple(shape[axis] for axis in layout)


def same_order(shape: Sequence[int], one: Layout, other: Layout) -> bool:
    """Whether two layouts store the same bytes: they differ in axes of size one only."""
    return [axis for axis in one if shape[axis] != 1] == [axis for axis in other if shape[axis] != 1]


def padded(layout: Layout, rank: int) -> Layout:
    """The layout of a tensor that broadcasting has given leading axes up to `rank`."""
    extra = rank - len(layout)
    return (*range(extra), *(axis + extra for axis in layout))
