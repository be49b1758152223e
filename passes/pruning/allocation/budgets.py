"""From budgets to widths: fractions of what the model cost at first, of which each is kept in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.passes.pruning.allocation.costs import Cost
from pruna_ir.passes.pruning.allocation.curves import Curve, nearest
from pruna_ir.passes.pruning.allocation.solve import floor_of, solve

# What the budgets are called in sentences.
WORDS = {"macs": "multiply-accumulates", "params": "parameters", "bytes": "bytes", "latency": "time"}


@dataclass(frozen=True)
class Budget:
    """At most `left` of what something costs: `cost` says it for widths, `whole` is what the original costs."""

    name: str
    left: float
    cost: Cost
    whole: float


def widths_within(curves: Sequence[Curve], budgets: Sequence[Budget]) -> dict[str, int]:
    """The widths with the least error that keep all budgets; raises P010 for one that cannot be kept.

    Later budgets narrow what earlier ones left: costs only fall.
    """
    widths = {curve.name: curve.full for curve in curves}
    for budget in budgets:
        narrowed = [curve.up_to(widths[curve.name]) for curve in curves]
        found = solve(narrowed, budget.cost, budget.left * budget.whole)
        if found is None:
            raise beyond_reach(budget, budget.cost.at(floor_of(narrowed)) / budget.whole)
        widths = found
    return widths


def widths_by_ratio(curves: Sequence[Curve], ratio: float, ratios: Mapping[str, float]) -> dict[str, int]:
    """The same share removed from every group, or its own share from one that has one."""
    return {curve.name: nearest(curve.widths, curve.full * (1 - ratios.get(curve.name, ratio))) for curve in curves}


def pinned(curves: Sequence[Curve], ratios: Mapping[str, float]) -> list[Curve]:
    """The curves, of which those with a share of their own have one width only."""
    fixed = []
    for curve in curves:
        if curve.name in ratios:
            width = nearest(curve.widths, curve.full * (1 - ratios[curve.name]))
            at = int(np.flatnonzero(curve.widths == width)[0])
            curve = Curve(curve.name, curve.widths[[at]], curve.errors[[at]])
        fixed.append(curve)
    return fixed


def beyond_reach(budget: Budget, floor: float) -> PrunaError:
    """The P010 diagnostic for a budget that lies below the floor, a fraction."""
    message = f"`{budget.name}={budget.left:g}` cannot be met: {floor:.3f} of the {WORDS[budget.name]} cannot be cut"
    help_text = "--remarks=missed with a larger budget, or --dry-run, says what stays and why; `round-to` keeps more"
    return error("P010", message, help=help_text)
