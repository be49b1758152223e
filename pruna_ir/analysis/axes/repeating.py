"""Rules of operators that repeat values along axes: Expand, Tile, ConstantOfShape, and what reads sizes."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.analysis.axes.target_shapes import follow_output
from pruna_ir.remarks import Reason

_DATA = 0
_SHAPE, _REPEATS = 1, 1


def _expand(at: NodeAxes) -> Reason | None:
    """An axis that is there already keeps its labels; one that values are repeated along gets its own."""
    sizes, axes = at.output_shape(), at.input(_DATA)
    if sizes is None or (at.constant(_SHAPE) is None and not isinstance(at.shape(_SHAPE)[0], int)):
        return at.reason("repeats along axes that are not known")
    ahead = len(sizes) - len(axes)
    written: list[Labels] = [_new(at, size) for size in sizes]
    for axis, (size, labels) in enumerate(zip(at.shape(_DATA), axes, strict=True)):
        if size != 1:
            written[ahead + axis] = labels
    at.write(written)
    return None


def _new(at: NodeAxes, size: int | str | None) -> Labels:
    return at.fresh(size) if isinstance(size, int) else None


def _tile(at: NodeAxes) -> Reason | None:
    repeats = at.constant(_REPEATS)
    if repeats is None:
        return at.reason("repeats its input a number of times that is not known")
    written: list[Labels] = []
    for size, labels, times in zip(at.shape(_DATA), at.input(_DATA), repeats.tolist(), strict=True):
        written.append(at.fresh(times) if size == 1 else None if labels is None else np.tile(labels, times))
    at.write(written)
    return None


def _repair_tile(node: gs.Node, repair: Repair) -> None:
    """Repeats of a single index were indices of their own, of which some may have been cut."""
    repeats = np.array(node.inputs[_REPEATS].values)
    for axis, size in enumerate(node.inputs[_DATA].shape):
        mask = repair.output(axis)
        if size == 1 and mask is not None:
            repeats[axis] = mask.sum()
    repair.set_constant(_REPEATS, repeats)


def _constant_of_shape(at: NodeAxes) -> Reason | None:
    sizes = at.output_shape()
    if sizes is None or at.shape(_DATA) != (len(sizes),):
        return at.reason("makes a shape of unknown rank")
    at.write([_new(at, size) for size in sizes])
    return None


def _shape(at: NodeAxes) -> None:
    at.input(_DATA)  # its axes may be cut
    (rank,) = at.output_shape() or (None,)
    at.write([at.fixed(rank, at.reason("counts axes")) if isinstance(rank, int) else None])


def _repair_shape(node: gs.Node, repair: Repair) -> None:
    """Go on saying the sizes from before the cut: what they are used for is repaired where it is used."""
    output, rank = node.outputs[0], len(node.inputs[_DATA].shape)
    first, end, _ = slice(node.attrs.get("start", 0), node.attrs.get("end")).indices(rank)
    masks = [repair.input(_DATA, axis) for axis in range(first, end)]
    old = np.array([0 if mask is None or mask.all() else len(mask) for mask in masks], np.int64)
    if not old.any() or (not repair.rewriter.is_output(output) and _picks_others(output, old)):
        return
    counted = repair.rewriter.variable(f"{output.name}_pruned", output.dtype, output.shape)
    bounds = repair.rewriter.constant(f"{output.name}_before", old)
    restored = gs.Node("Max", name=counted.name, inputs=[counted, bounds])
    repair.rewriter.insert_after(restored, node)
    output.inputs.clear()
    node.outputs.append(counted)
    restored.outputs.append(output)


def _picks_others(shape: gs.Tensor, cut: np.ndarray) -> bool:
    """Whether every reader picks other entries of a shape than those that were cut: the batch, most of the time."""
    for reader in shape.outputs:
        picked = constant_of(reader.inputs[1]) if reader.op == "Gather" and reader.inputs[0] is shape else None
        if picked is None or cut[np.asarray(picked.values)].any():
            return False
    return True


def _range(at: NodeAxes) -> None:
    (size,) = at.output_shape() or (None,)
    at.write([at.fixed(size, at.reason("counts up")) if isinstance(size, int) else None])


def _size(at: NodeAxes) -> None:
    for labels in at.input(_DATA):
        at.protect(labels, at.reason("counts its elements"))
    at.write([])


RULES: dict[str, AxisRule] = {
    "ConstantOfShape": AxisRule(_constant_of_shape, repair=lambda node, repair: follow_output(repair, _DATA)),
    "Expand": AxisRule(_expand, repair=lambda node, repair: follow_output(repair, _SHAPE)),
    "Range": AxisRule(_range),
    "Shape": AxisRule(_shape, repair=_repair_shape),
    "Size": AxisRule(_size),
    "Tile": AxisRule(_tile, repair=_repair_tile),
}
