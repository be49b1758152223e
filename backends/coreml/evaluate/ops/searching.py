"""Operators that order values or look for them."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray
# Since specification version 8 (iOS 17) non_maximum_suppression has boxes in columns.
_BOXES_IN_COLUMNS = 8


@computes("argsort")
def argsort(x: Array, axis: Array, ascending: Array | bool = False) -> Array:
    """The order of the values along the axis; equal ones stay in their order."""
    return _order(x, int(axis), bool(ascending))


@computes("topk")
def topk(
    x: Array,
    axis: Array,
    k: Array | int = 1,
    ascending: Array | bool = False,
    sort: Array | bool = True,
    return_indices: Array | bool = True,
    output_indices_dtype: str = "int32",
) -> Array | tuple[Array, Array]:
    """The largest (or smallest) values along the axis, in order, and where they are; k = -1 is all."""
    place = int(axis) % x.ndim
    count = x.shape[place] if int(k) == -1 else int(k)
    indices = np.take(_order(x, place, bool(ascending)), np.arange(count), place)
    values = np.take_along_axis(x, indices, place)
    return (values, indices) if return_indices else values


@computes("non_zero")
def non_zero(x: Array) -> Array:
    """A row of indices for each value that is not zero."""
    return np.argwhere(x)


@computes("non_maximum_suppression")
def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Array,
    max_boxes: Array,
    version: int,
    score_threshold: Array | None = None,
    per_class_suppression: Array | bool = False,
) -> tuple[Array, ...]:
    """Boxes (centre and size) in the order of their best scores, without those that overlap one before.

    Returns boxes, scores and indices, filled up with zeros and -1. Before iOS 17 the boxes are rows, not
    columns, and their number is a fourth output.
    """
    rows = version < _BOXES_IN_COLUMNS
    results, counts = [], []
    for box, score in zip(boxes, scores, strict=True):
        lines = (box, score) if rows else (box.T, score.T)
        chosen = _suppressed(*lines, iou_threshold, int(max_boxes), score_threshold, bool(per_class_suppression))
        filled = [_filled(values, chosen, int(max_boxes)) for values in lines]
        indices = np.asarray([*chosen, *[-1] * (int(max_boxes) - len(chosen))], np.int32)
        results.append([*(filled if rows else (values.T for values in filled)), indices])
        counts.append(len(chosen))
    outputs = tuple(np.stack(parts) for parts in zip(*results, strict=True))
    return (*outputs, np.asarray(counts, np.int32)) if rows else outputs


def _suppressed(
    boxes: Array, scores: Array, limit: Array, most: int, threshold: Array | None, per_class: bool
) -> list[int]:
    """Indices of the boxes [boxes, 4] that stay, by their scores [boxes, classes]."""
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(-best, kind="stable")
    if threshold is not None:
        order = order[best[order] >= threshold]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    kept: list[int] = []
    for index in map(int, order):
        rivals = [other for other in kept if not per_class or classes[other] == classes[index]]
        if all(_overlap(corners[index], corners[other]) <= limit for other in rivals):
            kept.append(index)
        if len(kept) == most:
            break
    return kept


def _overlap(one: Array, other: Array) -> float:
    """The common area of two boxes (corners), as a part of what they cover together."""
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    common = float(sides.prod())
    both = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - common
    return common / both if both > 0 else 0.0


def _filled(values: Array, chosen: list[int], most: int) -> Array:
    """The chosen rows, and zeros behind them."""
    return np.pad(values[chosen], [(0, most - len(chosen)), (0, 0)])


def _order(x: Array, axis: int, ascending: bool) -> Array:
    if ascending:
        return np.argsort(x, axis, kind="stable")
    # Twice turned around: equal values keep their order, and no value is negated.
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.asarray(x.shape[axis] - 1 - np.flip(backwards, axis))
