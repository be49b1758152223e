"""Rules of operators that join and split axes: Reshape, Flatten."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.factors import Dim, Factor, Lump, factorize
from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import Axes, NodeAxes
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.analysis.axes.target_shapes import follow_output
from pruna_ir.remarks import Reason

_DATA, _SHAPE = 0, 1


class _View:
    """The axes of a node that joins and splits axes, and the factors that they are made of."""

    def __init__(self, at: NodeAxes, factors: Sequence[Factor], lump: Lump) -> None:
        self.at, self.factors, self.lump = at, factors, lump
        self.before = at.input(_DATA)
        self.of_source = {axis: [f for f in factors if f.source == axis] for axis in range(len(self.before))}
        self.of_target: dict[int, list[Factor]] = {}
        for factor in factors:
            self.of_target.setdefault(factor.target, []).append(factor)

    def is_copied(self, factor: Factor) -> bool:
        """Whether a factor is a whole axis on both sides."""
        whole = self.of_source[factor.source] == self.of_target[factor.target] == [factor]
        return whole and factor.source not in self.lump.sources and factor.target not in self.lump.targets

    def written(self, target: int) -> Labels:
        """The labels of an axis of the output: those of the axis it is a copy of, or new ones."""
        parts = self.of_target.get(target, [])
        if len(parts) == 1 and self.is_copied(parts[0]):
            return self.before[parts[0].source]
        stated = self.at.output_shape()
        lumped = target in self.lump.targets
        size = (stated[target] if stated is not None else None) if lumped else _product(parts)
        if not isinstance(size, int) or all(self.before[part.source] is None for part in parts):
            return None
        return self.at.fresh(size)

    def carriers(self, after: Axes) -> list[Factor]:
        """The factors that are cut, at most one of each axis: those with most indices free, then by preference."""
        able = [factor for factor in self.factors if self._can_carry(factor, after)]
        if self.at.options.split == "inner":
            able.reverse()
        if len({f.source for f in able}) < len(able) or len({f.target for f in able}) < len(able):
            able.sort(key=lambda factor: -self._free(factor, after))
        chosen: list[Factor] = []
        for factor in able:
            if all(factor.source != other.source and factor.target != other.target for other in chosen):
                chosen.append(factor)
        return chosen

    def _can_carry(self, factor: Factor, after: Axes) -> bool:
        if self.is_copied(factor) or self.before[factor.source] is None or after[factor.target] is None:
            return False
        lumped = factor.source in self.lump.sources or factor.target in self.lump.targets
        return not lumped or factor in self.factors[self.lump.place :]

    def _free(self, factor: Factor, after: Axes) -> float:
        """The share of the indices of a factor that nothing protects."""
        size = factor.size or 1
        sides = [grid.swapaxes(0, 1).reshape(size, -1) for grid in self.grids(factor, after)]
        return float(1 - self.at.is_protected(np.hstack(sides)).any(axis=1).mean())

    def grids(self, factor: Factor, after: Axes) -> tuple[np.ndarray, np.ndarray]:
        """The labels of the two axes that a factor is part of, each as [factors before it, the factor, behind it]."""
        sides = (
            (self.before[factor.source], self.of_source[factor.source]),
            (after[factor.target], self.of_target[factor.target]),
        )
        first, second = (_grid(labels, parts, factor) for labels, parts in sides)
        return first, second


def _grid(labels: Labels, parts: list[Factor], factor: Factor) -> np.ndarray:
    assert labels is not None
    return labels.reshape(-1, factor.size or 1, _product(parts[parts.index(factor) + 1 :]) or 1)


def _product(parts: Sequence[Factor]) -> int | None:
    sizes = [part.size for part in parts if part.size is not None]
    return prod(sizes) if len(sizes) == len(parts) else None


def _relate(view: _View, rank: int) -> None:
    for axis in view.lump.sources:
        if not view.of_source[axis]:
            view.at.protect(view.before[axis], view.at.reason("joins and splits axes that have no common factors"))
    view.at.write([view.written(axis) for axis in range(rank)])


def _settle(view: _View) -> None:
    """Of an axis that is made of several others one can be cut, in all places where it stands."""
    at, after = view.at, view.at.output()
    carriers = view.carriers(after)
    for factor in carriers:
        first, second = view.grids(factor, after)
        at.equate(first, first[:1, :, :1])
        at.equate(second, first[:1, :, :1])
    whole = at.reason("joins it with other axes, or splits it, and another of them is cut")
    if not carriers:
        whole = at.reason("joins it with axes that are never cut, or splits it into such")
    for factor in view.factors:
        if not view.is_copied(factor):
            if all(factor.source != carrier.source for carrier in carriers):
                at.protect(view.before[factor.source], whole)
            if all(factor.target != carrier.target for carrier in carriers):
                at.protect(after[factor.target], whole)


def _reshape_sizes(at: NodeAxes) -> list[Dim] | None:
    """The shape of the output: what the target shape says, then what the graph says."""
    stated = at.output_shape()
    target = at.constant(_SHAPE)
    if target is None:
        return None if stated is None or at.shape(_SHAPE) != (len(stated),) else list(stated)
    sizes: list[Dim] = []
    for axis, size in enumerate(target.tolist()):
        if size > 0 or (size == 0 and at.node.attrs.get("allowzero", 0)):
            sizes.append(size)
        elif size == 0:
            sizes.append(at.shape(_DATA)[axis])
        else:
            known = stated[axis] if stated is not None else None
            sizes.append(known if isinstance(known, int) else None)
    return sizes


def _reshape(at: NodeAxes) -> Reason | None:
    sizes = _reshape_sizes(at)
    if sizes is None:
        return at.reason("makes a shape of unknown rank")
    _relate(_View(at, *factorize(at.shape(_DATA), sizes)), len(sizes))
    return None


def _settle_reshape(at: NodeAxes) -> None:
    sizes = _reshape_sizes(at)
    assert sizes is not None
    _settle(_View(at, *factorize(at.shape(_DATA), sizes)))


def _repair_reshape(node: gs.Node, repair: Repair) -> None:
    follow_output(repair, _SHAPE)
    target = constant_of(node.inputs[_SHAPE])
    if target is None or node.attrs.get("allowzero", 0):
        return
    shape = np.array(target.values)
    for axis in np.flatnonzero(shape == 0).tolist():  # copies of the input's sizes, which other cuts may change
        copied, wanted = repair.input(_DATA, axis), repair.output(axis)
        size = node.outputs[0].shape[axis] if wanted is None else int(wanted.sum())
        if copied is not None and int(copied.sum()) != size:
            shape[axis] = size
            repair.set_constant(_SHAPE, shape)


def _flat_view(at: NodeAxes) -> _View:
    """Flatten joins all axes before one, and all from there on."""
    shape = at.shape(_DATA)
    axis = at.node.attrs.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    factors = [
        Factor(size if isinstance(size, int) else None, source, int(source >= axis))
        for source, size in enumerate(shape)
        if size != 1
    ]
    return _View(at, factors, Lump((), ()))


RULES: dict[str, AxisRule] = {
    "Flatten": AxisRule(lambda at: _relate(_flat_view(at), 2), lambda at: _settle(_flat_view(at))),
    "Reshape": AxisRule(_reshape, _settle_reshape, _repair_reshape),
}
