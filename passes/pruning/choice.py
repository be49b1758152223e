"""What one cut of a model comes to: which groups may go, what each is worth, and how wide each is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation.budgets import WORDS, Budget, pinned, widths_by_ratio, widths_within
from pruna_ir.passes.pruning.allocation.curves import Curve
from pruna_ir.passes.pruning.allocation.latency import time_costs, timer, widths_within_time
from pruna_ir.passes.pruning.allocation.model_costs import COSTS, WHOLES, Costs
from pruna_ir.passes.pruning.candidates import Candidate, Survey
from pruna_ir.passes.pruning.cutting import Trial, cut
from pruna_ir.passes.pruning.ranking import Ranker, Ranking
from pruna_ir.pipeline.context import Progress

LATENCY = "latency"
Widths = dict[str, int]
Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Goal:
    """How much is cut: fractions left of the original, by budget, or the share removed from every group.

    `ratios` are shares removed from single groups, which budgets leave as they are.
    """

    left: Mapping[str, float]
    ratio: float | None
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class Choice:
    """Chooses what goes of `model`, whose budgets are fractions of `reference`.

    `sample` gives what times are taken on.
    """

    model: Model
    reference: Model
    analysis: AxisAnalysis
    survey: Survey
    ranker: Ranker
    goal: Goal
    sample: Callable[[], Feeds]
    progress: Progress

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """What the units of each candidate are worth."""
        return self.ranker.rank(self.survey.candidates, self.progress)

    def removals(self) -> dict[str, Any]:
        """The units that go of each group that is cut (`removed`), the `worth` of all its units where it has one, and
        why others could not be cut (`refused`).

        As JSON values. Where a cut turns out not to work, the groups to blame are left whole and the rest is chosen
        anew. Raises P010.
        """
        refused: dict[str, str] = {}
        while True:
            chosen = [candidate for candidate in self.survey.candidates if candidate.name not in refused]
            trial = Trial(self.model, self.analysis)
            accepted = trial.accept(self._first(self._allocate(chosen)))
            if not trial.refused:
                removed = {name: [int(unit) for unit in units] for name, units in accepted.items()}
                return {"removed": removed, "worth": self._worth(removed), "refused": refused}
            refused |= trial.refused

    def _worth(self, names: Iterable[str]) -> dict[str, list[float]]:
        """The worth of the units of groups that have one, to the digits that mean something."""
        known = {name: self.rankings[name].worth for name in names}
        return {name: [float(f"{one:.4g}") for one in worth] for name, worth in known.items() if worth is not None}

    def _first(self, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The units that go first, of groups of these widths."""
        sizes = {candidate.name: candidate.group.size for candidate in self.survey.candidates}
        return {name: self.rankings[name].order[: sizes[name] - width] for name, width in widths.items()}

    def _allocate(self, candidates: Sequence[Candidate]) -> Widths:
        curves = [self._curve(candidate) for candidate in candidates]
        if self.goal.ratio is not None or not self.goal.left:
            return widths_by_ratio(curves, self.goal.ratio or 0.0, self.goal.ratios)
        curves = pinned(curves, self.goal.ratios)
        costs = Costs(self.model, self.analysis, [candidate.group for candidate in candidates])
        budgets = [self._budget(name, left, costs) for name, left in self.goal.left.items() if name != LATENCY]
        widths = widths_within(curves, budgets)
        if LATENCY in self.goal.left:
            curves = [curve.up_to(widths[curve.name]) for curve in curves]
            widths = self._within_time(curves, costs)
        return widths

    def _curve(self, candidate: Candidate) -> Curve:
        ranking = self.rankings[candidate.name]
        return Curve.of(candidate.name, ranking.errors, candidate.widths, ranking.scale)

    def _budget(self, name: str, left: float, costs: Costs) -> Budget:
        cost, whole = COSTS[name](costs), WHOLES[name](self.reference)
        if isinstance(cost, Unmeasured) or isinstance(whole, Unmeasured):
            missing = cost if isinstance(cost, Unmeasured) else whole
            reason = missing.reason if isinstance(missing, Unmeasured) else ""
            help_text = "give a budget for params or bytes instead"
            raise error("P010", f"the {WORDS[name]} cannot be counted: {reason}", help=help_text)
        return Budget(name, left, cost, float(whole))

    def _within_time(self, curves: Sequence[Curve], costs: Costs) -> Widths:
        feeds = self.sample()

        def cut_to(widths: Widths) -> Model:
            return cut(self.model, self.analysis, self._first(widths))

        table = time_costs(self.model, costs, feeds)
        return widths_within_time(curves, table, self.goal.left[LATENCY], timer(self.reference, feeds, cut_to))


def share_left(name: str, model: Model, reference: Model) -> float:
    """What is left of something that the original cost; NaN if it cannot be counted."""
    now, whole = WHOLES[name](model), WHOLES[name](reference)
    return float("nan") if isinstance(now, Unmeasured) or isinstance(whole, Unmeasured) else now / max(whole, 1)
