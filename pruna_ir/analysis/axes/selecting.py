"""Rules of operators that take some indices of an axis, or add others: Slice, Gather, Pad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason

_DATA = 0
_STARTS, _ENDS, _AXES, _STEPS = 1, 2, 3, 4
_INDICES = 1
_PADS, _PADDED_AXES = 1, 3


def _values(node: gs.Node, index: int) -> np.ndarray | None:
    """A constant input; None if it is computed or left out."""
    held = constant_of(node.inputs[index]) if index < len(node.inputs) else None
    return None if held is None else np.asarray(held.values)


def _is_given(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and not node.inputs[index].is_empty()


def _listed_axes(node: gs.Node, index: int, count: int) -> list[int] | None:
    """The axes that an optional input lists, all by default; None if they are computed."""
    if not _is_given(node, index):
        return list(range(count))
    listed = _values(node, index)
    return None if listed is None else [int(axis) % len(node.inputs[_DATA].shape) for axis in listed]


# Slice


@dataclass(frozen=True)
class _Range:
    """What a Slice takes of one axis: `row` is where it stands in the lists; None where an end is computed."""

    row: int
    axis: int
    limits: slice | None

    def positions(self, size: int) -> np.ndarray:
        """The indices that are taken, in order."""
        assert self.limits is not None
        return np.arange(size)[self.limits]


def _ranges(node: gs.Node) -> list[_Range] | None:
    """What a Slice takes; None if the axes are not known."""
    starts, ends, steps = (_values(node, index) for index in (_STARTS, _ENDS, _STEPS))
    count = node.inputs[_STARTS].shape[0] if node.inputs[_STARTS].shape else None
    if not isinstance(count, int):
        return None
    axes = _listed_axes(node, _AXES, count)
    if axes is None:
        return None
    if steps is None and not _is_given(node, _STEPS):
        steps = np.ones(count, np.int64)
    if starts is None or ends is None or steps is None:
        return [_Range(row, axis, None) for row, axis in enumerate(axes)]
    limits = zip(starts.tolist(), ends.tolist(), steps.tolist(), strict=True)
    return [_Range(row, axis, slice(*limit)) for row, (axis, limit) in enumerate(zip(axes, limits, strict=True))]


def _slice(at: NodeAxes) -> Reason | None:
    ranges = _ranges(at.node)
    if ranges is None:
        return at.reason("slices axes that are not known")
    axes = list(at.input(_DATA))
    for taken in ranges:
        labels = axes[taken.axis]
        if labels is not None and taken.limits is None:
            at.protect(labels, at.reason("slices it where the graph computes"))
            axes[taken.axis] = None
        elif labels is not None:
            axes[taken.axis] = labels[taken.positions(len(labels))]
    at.write(axes)
    return None


def _repair_slice(node: gs.Node, repair: Repair) -> None:
    for taken in _ranges(node) or ():
        mask = repair.input(_DATA, taken.axis)
        if mask is None or mask.all() or taken.limits is None:
            continue
        indices = _renumbered(mask, taken.positions(len(mask)))
        limits = _as_range(indices, taken.limits.step, int(mask.sum()))
        if limits is None:
            _gather_before(node, repair, taken.axis, indices)
            limits = (0, len(indices), 1)
        _set_row(node, repair, taken.row, limits)


def _renumbered(mask: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The positions that stay, in the numbers that they have after the cut."""
    numbers = np.cumsum(mask) - 1
    return np.asarray(numbers[positions[mask[positions]]])


def _as_range(indices: np.ndarray, step: int, size: int) -> tuple[int, int, int] | None:
    """Start, end and step of evenly spaced indices; None if they are not."""
    steps = np.unique(np.diff(indices))
    if not len(indices):
        return 0, 0, 1
    if len(steps) > 1:
        return None
    step = int(steps[0]) if len(steps) else step
    end = int(indices[-1]) + (1 if step > 0 else -1)
    return int(indices[0]), end if end >= 0 else -size - 1, step


def _gather_before(node: gs.Node, repair: Repair, axis: int, indices: np.ndarray) -> None:
    """Take scattered indices in front of a Slice, which then takes all of the axis."""
    data = node.inputs[_DATA]
    masks = [repair.input(_DATA, other) for other in range(len(data.shape))]
    shape = [size if mask is None else int(mask.sum()) for size, mask in zip(data.shape, masks, strict=True)]
    shape[axis] = len(indices)
    chosen = repair.rewriter.variable(f"{data.name}_chosen", data.dtype, shape)
    places = repair.rewriter.constant(f"{data.name}_indices", indices.astype(np.int64))
    gather = gs.Node("Gather", chosen.name, {"axis": axis}, [data, places], [chosen])
    repair.rewriter.insert(gather, before=node)
    repair.rewriter.set_input(node, _DATA, chosen)


def _set_row(node: gs.Node, repair: Repair, row: int, limits: tuple[int, int, int]) -> None:
    """Write the limits of one axis into the lists, adding the optional ones where they are needed."""
    starts = np.asarray(_values(node, _STARTS))
    defaults = {_AXES: np.arange(len(starts)), _STEPS: np.ones(len(starts))}
    changes = dict(zip((_STARTS, _ENDS, _STEPS), limits, strict=True))
    if not _is_given(node, _STEPS):
        if limits[2] == 1:
            del changes[_STEPS]
        elif not _is_given(node, _AXES):
            repair.set_constant(_AXES, defaults[_AXES].astype(starts.dtype))
    for index, value in changes.items():
        held = _values(node, index)
        values = np.array(defaults[index] if held is None else held, starts.dtype)
        values[row] = value
        repair.set_constant(index, values)


# Gather


def _gathered_axis(node: gs.Node) -> int:
    return int(node.attrs.get("axis", 0)) % len(node.inputs[_DATA].shape)


def _gather(at: NodeAxes) -> None:
    """Constant indices select; others may be any, so that every index of the data stays."""
    axes, axis, indices = at.input(_DATA), _gathered_axis(at.node), at.constant(_INDICES)
    labels = axes[axis]
    if indices is None:
        taken = at.input(_INDICES)
        at.protect(labels, at.reason("looks indices up that are not known"))
    elif labels is not None and indices.ndim == 1:
        taken = (labels[indices],)
    else:
        at.protect(None if labels is None else labels[indices], at.reason("takes this index by itself"))
        taken = (None,) * indices.ndim
    at.write([*axes[:axis], *taken, *axes[axis + 1 :]])
    if at.is_weight(_DATA) and not at.is_weight(_INDICES):  # a table of embeddings
        for column in set(range(len(axes))) - {axis}:
            at.produce(_DATA, column)


def _repair_gather(node: gs.Node, repair: Repair) -> None:
    mask, indices = repair.input(_DATA, _gathered_axis(node)), _values(node, _INDICES)
    if mask is None or mask.all() or indices is None:
        return
    indices = np.where(indices < 0, indices + len(mask), indices)
    if indices.ndim == 1:
        indices = indices[mask[indices]]
    numbers = np.cumsum(mask) - 1
    repair.set_constant(_INDICES, numbers[indices].astype(np.int64))


# Pad


def _padding(node: gs.Node) -> dict[int, tuple[int, int]] | None:
    """How much a Pad adds before and behind each axis; None if it is computed."""
    pads = _values(node, _PADS)
    axes = None if pads is None else _listed_axes(node, _PADDED_AXES, len(pads) // 2)
    if pads is None or axes is None:
        return None
    return {axis: (int(pads[row]), int(pads[row + len(axes)])) for row, axis in enumerate(axes)}


def _pad(at: NodeAxes) -> Reason | None:
    padding = _padding(at.node)
    if padding is None:
        return at.reason("pads by amounts that are not known")
    constant = at.node.attrs.get("mode", "constant") == "constant"
    axes = list(at.input(_DATA))
    for axis, (before, behind) in padding.items():
        labels = axes[axis]
        if labels is None or before == behind == 0:
            continue
        if constant:
            kept = labels[max(-before, 0) : len(labels) - max(-behind, 0)]
            added = _fresh(at, max(before, 0) + max(behind, 0))
            axes[axis] = np.concatenate([added[: max(before, 0)], kept, added[max(before, 0) :]])
        else:
            at.protect(labels, at.reason("repeats some of its indices"))
            axes[axis] = None
    at.write(axes)
    return None


def _fresh(at: NodeAxes, count: int) -> np.ndarray:
    """New labels, also where it is one: next to others it is not alone on its axis."""
    labels = at.fresh(count + 2)
    assert labels is not None
    return labels[:count]


def _repair_pad(node: gs.Node, repair: Repair) -> None:
    """What was cut of the padding is not added any more; what was cut of what it takes away need not be taken."""
    padding, pads = _padding(node), np.array(_values(node, _PADS))
    for row, (axis, (before, behind)) in enumerate((padding or {}).items()):
        for place, amount, first in ((row, before, True), (row + len(pads) // 2, behind, False)):
            mask = repair.output(axis) if amount > 0 else repair.input(_DATA, axis)
            if mask is not None and amount:
                end = mask[: abs(amount)] if first else mask[-abs(amount) :]
                pads[place] = np.sign(amount) * end.sum()
    repair.set_constant(_PADS, pads)


RULES: dict[str, AxisRule] = {
    "Gather": AxisRule(_gather, repair=_repair_gather),
    "Pad": AxisRule(_pad, repair=_repair_pad),
    "Slice": AxisRule(_slice, repair=_repair_slice),
}
