"""Rules of operators that take windows, positions or whole axes together: pooling, resizing, reductions."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule, barrier
from pruna_ir.analysis.axes.signature import Signature
from pruna_ir.remarks import Reason

_POOLS = "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool"
_REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
# Reductions for which an index that is zero is as good as cut.
_SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")
_SCALES, _SIZES = 2, 3


def _reduce(at: NodeAxes) -> Reason | None:
    axes = at.node.attrs.get("axes")
    if at.has(1):
        values = at.constant(1)
        if values is None:
            return at.reason("reduces over axes that are computed")
        axes = values.tolist()
    rank = len(at.shape(0))
    if not axes:
        axes = [] if at.node.attrs.get("noop_with_empty_axes", 0) else range(rank)
    over = {axis % rank for axis in axes}
    labels = at.input(0)
    for axis in over:
        if labels[axis] is not None and at.node.op in _SUMS:
            at.contract((0, axis))
        elif labels[axis] is not None:
            at.reduce(labels[axis])
    kept = at.node.attrs.get("keepdims", 1)
    at.write([None if axis in over else labels[axis] for axis in range(rank) if kept or axis not in over])
    return None


def _resize(at: NodeAxes) -> Reason | None:
    """Axes that keep their size are carried; the positions of the others are mixed."""
    mode = at.node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize" or at.node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return at.reason("crops, or keeps the aspect ratio")
    same = _same_axes(at)
    if same is None:
        return at.reason("resizes to what is computed")
    axes = []
    for axis, labels in enumerate(at.input(0)):
        if axis not in same:
            at.protect(labels, at.reason("mixes the positions of this axis"))
        axes.append(labels if axis in same else None)
    at.write(axes)
    return None


def _same_axes(at: NodeAxes) -> set[int] | None:
    """The axes that keep their size whatever is cut; None if that cannot be told."""
    rank = len(at.shape(0))
    named = _axes(at.node, rank)
    free = set(range(rank)) - set(named)
    scales, shape = at.constant(_SCALES), at.output_shape()
    if scales is not None and scales.size:
        return free | {axis for axis, scale in zip(named, scales, strict=True) if scale == 1}
    if at.has(_SIZES) and shape is not None:
        sizes = at.shape(0)
        return free | {axis for axis in named if isinstance(sizes[axis], int) and sizes[axis] == shape[axis]}
    return None


def _axes(node: gs.Node, rank: int) -> list[int]:
    return [axis % rank for axis in node.attrs.get("axes", range(rank))]


def _resize_to(node: gs.Node, repair: Repair) -> None:
    if len(node.inputs) > _SIZES and not node.inputs[_SIZES].is_empty():
        axes = _axes(node, len(node.inputs[0].shape))
        sizes = {place: repair.output_size(axis) for place, axis in enumerate(axes)}
        repair.set_sizes(_SIZES, {place: size for place, size in sizes.items() if size is not None})


RULES = {
    **dict.fromkeys(_POOLS.split(), AxisRule(Signature("X[n c *] -> Y[n c *]"))),
    **dict.fromkeys(_REDUCTIONS.split(), AxisRule(_reduce)),
    "Resize": AxisRule(_resize, repair=_resize_to),
    "LRN": barrier("sums over neighbouring channels"),
}
