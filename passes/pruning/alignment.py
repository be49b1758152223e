"""Multiples of channels that a target likes, and how far they give way to a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation.model_costs import COSTS, WHOLES, Costs
from pruna_ir.passes.pruning.candidates import Survey

# Floors are sums of floats.
_EQUAL = 1e-9


def multiples(asked: int | None, liked: int) -> Iterator[int]:
    """What layers may keep multiples of, first choice first: what was asked, or what the target likes, halved to 1."""
    if asked is not None:
        yield asked
        return
    while liked > 1:
        yield liked
        liked //= 2
    yield 1


def budget_beyond(
    left: Mapping[str, float], model: Model, reference: Model, analysis: AxisAnalysis, survey: Survey
) -> str:
    """The first budget that the narrowest widths of a survey do not keep; empty if they keep all that is counted.

    `left` are fractions of what `reference` costs, by budget; `model` is what is cut.
    """
    costs = Costs(model, analysis, [candidate.group for candidate in survey.candidates])
    floor = {candidate.name: int(candidate.widths[0]) for candidate in survey.candidates}
    for name in left.keys() & COSTS.keys():
        cost, whole = COSTS[name](costs), WHOLES[name](reference)
        if isinstance(cost, Unmeasured) or isinstance(whole, Unmeasured):
            continue
        if cost.at(floor) > left[name] * whole * (1 + _EQUAL):
            return name
    return ""
