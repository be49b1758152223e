"""The widths that make the least error within a budget: a Lagrange multiplier by bisection, then a greedy fill.

Costs of coupled groups are products, so that the minimum for one multiplier is found by coordinate descent. What the
multiplier leaves of the budget, because widths are whole numbers, is spent where it takes away most error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pruna_ir.passes.pruning.allocation.costs import Cost
from pruna_ir.passes.pruning.allocation.curves import Curve

_BISECTIONS = 50
_DESCENTS = 8
# Of the total cost: costs are sums of floats.
_EQUAL = 1e-9


def floor_of(curves: Sequence[Curve]) -> dict[str, int]:
    """The least width of every group."""
    return {curve.name: int(curve.widths[0]) for curve in curves}


def solve(curves: Sequence[Curve], cost: Cost, limit: float) -> dict[str, int] | None:
    """The width of each group with the least sum of errors and a cost of at most `limit`; None if none is so cheap."""
    full = {curve.name: curve.full for curve in curves}
    limit = limit * (1 + _EQUAL)
    if cost.at(full) <= limit:
        return full
    if cost.at(floor_of(curves)) > limit:
        return None
    return _fill(curves, cost, limit, _by_multiplier(curves, cost, limit))


def _by_multiplier(curves: Sequence[Curve], cost: Cost, limit: float) -> dict[str, int]:
    """The solution of the smallest multiplier that keeps within the limit: bisection of its logarithm."""
    errors = sum(float(curve.errors[0]) for curve in curves if np.isfinite(curve.errors[0]))
    scale = (errors or 1.0) / max(limit, 1e-300)
    low, high = np.log(scale) - 30, np.log(scale) + 30
    best = floor_of(curves)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = _descend(curves, cost, float(np.exp(middle)))
        if cost.at(found) <= limit:
            best, high = found, middle
        else:
            low = middle
    return best


def _descend(curves: Sequence[Curve], cost: Cost, multiplier: float) -> dict[str, int]:
    """Minimize the errors plus the multiplier times the cost, group by group, until nothing moves."""
    widths = {curve.name: curve.full for curve in curves}
    for _ in range(_DESCENTS):
        before = dict(widths)
        for curve in curves:
            total = curve.errors + multiplier * cost.along(curve.name, curve.widths, widths)
            widths[curve.name] = int(curve.widths[np.argmin(total)])
        if widths == before:
            break
    return widths


def _fill(curves: Sequence[Curve], cost: Cost, limit: float, start: Mapping[str, int]) -> dict[str, int]:
    """Widen the group that loses most error for its cost, as long as one fits into what is left."""
    widths = dict(start)
    while True:
        room = limit - cost.at(widths)
        steps = [step for curve in curves if (step := _best_step(curve, cost, room, widths)) is not None]
        if not steps:
            return widths
        _, _, name, width = max(steps)
        widths[name] = width


def _best_step(
    curve: Curve, cost: Cost, room: float, widths: Mapping[str, int]
) -> tuple[float, float, str, int] | None:
    """The widening of a group that fits and gains most: (gain for the cost, minus the cost, name, width)."""
    now = widths[curve.name]
    wider = curve.widths >= now
    choices, errors = curve.widths[wider], curve.errors[wider]
    price = cost.along(curve.name, choices, widths)
    price = price[1:] - price[0]
    with np.errstate(invalid="ignore"):
        gain = np.nan_to_num(errors[0] - errors[1:], nan=0.0, posinf=np.finfo(float).max)
    worth = np.where(price <= room, gain / np.maximum(price, 1e-300), -1.0)
    if not len(worth) or worth.max() < 0:
        return None
    best = int(np.argmax(worth))
    return float(worth[best]), -float(price[best]), curve.name, int(choices[1:][best])
