"""The order in which the units of each group go, and what removing the first of them costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.model import Model
from pruna_ir.passes.pruning.candidates import Candidate
from pruna_ir.passes.pruning.criteria.criteria import CRITERIA, errors_of, importance
from pruna_ir.passes.pruning.criteria.views import Views
from pruna_ir.passes.pruning.reconstruction.effects import Effects
from pruna_ir.passes.pruning.reconstruction.outputs import Distance
from pruna_ir.passes.pruning.reconstruction.reads import Coupled, coupled
from pruna_ir.passes.pruning.reconstruction.survey import UNITS, sensitivity, survey

OBS = "obs"
# What ranks groups that the wanted criterion says nothing of.
FALLBACK = "group-l2"
# Samples that curves and effects are measured on at most. Least squares hide what they do on the samples they are from,
# so that the effect of each group on the outputs is measured on a share of its own.
SAMPLES = 640
EFFECT_SHARE = 0.2
# Single units, which may be thousands, are tried on so few samples that these are run about so often in all.
UNIT_RUNS = 1 << 15

Feeds = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Ranking:
    """Units in the `order` [n - 1] in which they go, and `errors` [n] of removing the first 0, 1, ... of them.

    `criterion` says what ranked them. `scale` is what makes the errors those of the model's outputs, where it was
    measured. `worth` [n] is what costs by second moments count, where these ranked them: units may then be chosen anew.
    """

    order: np.ndarray
    errors: np.ndarray
    criterion: str
    scale: float = 1.0
    worth: np.ndarray | None = None


@dataclass(frozen=True)
class Ranker:
    """Ranks groups of a model by a criterion; `batches` are none without data, `measure` asks for the scales.

    `metric` says how far outputs are apart, if the data's metric can tell.
    """

    model: Model
    analysis: AxisAnalysis
    criterion: str
    batches: Sequence[Feeds] = ()
    measure: bool = True
    seed: int = 0
    metric: Distance | None = None

    def rank(self, candidates: Sequence[Candidate], progress: Progress) -> dict[str, Ranking]:
        """A ranking for each of the groups, by its name."""
        rankings = self._by_weights(candidates)
        if not self.batches or not (self.criterion == OBS or self.measure):
            return rankings
        groups = [group for group in coupled(self.model, self.analysis) if group.name in rankings]
        fitted, held_out = _parted(self.batches)
        effects = self._unit_effects(groups, fitted) if self.measure and self.criterion == OBS else None
        curves = survey(self.model, groups, fitted, effects=effects, progress=progress)
        if self.criterion == OBS:
            for name, curve in curves.items():
                rankings[name] = Ranking(curve.order, curve.errors, OBS, worth=curve.worth)
        if self.measure:
            found = sensitivity(self.model, groups, curves, held_out, metric=self.metric, progress=progress)
            if self.criterion == OBS:
                for name, curve in curves.items():
                    rankings[name] = replace(rankings[name], errors=curve.measured(found[name]))
            rankings = _scaled(
                rankings, {name: by_count[max(by_count)] for name, by_count in found.items() if by_count}
            )
        return rankings

    def _unit_effects(self, groups: Sequence[Coupled], batches: Sequence[Feeds]) -> Effects:
        """What measures single units: as many batches as their runs allow, spread evenly, and at least one."""
        wanted = UNIT_RUNS / max(UNITS * sum(group.size for group in groups), 1)
        step = -(-int(_ends(batches)[-1]) // max(int(wanted), 1))
        return Effects(self.model.to_proto(), batches[:: min(step, len(batches))], self.metric)

    def _by_weights(self, candidates: Sequence[Candidate]) -> dict[str, Ranking]:
        """Rankings by the scores of the table."""
        views = Views(self.model, self.analysis, self.seed)
        wanted = FALLBACK if self.criterion == OBS else self.criterion
        if CRITERIA[wanted].needs_data:
            views.measure_reads([candidate.group for candidate in candidates], self.batches)
        rankings = {}
        for candidate in candidates:
            view = views.of(candidate.group)
            name = FALLBACK if CRITERIA[wanted].needs_scales and not view.scales else wanted
            scores = importance(CRITERIA[name], view)
            order = np.argsort(scores, kind="stable")
            rankings[candidate.name] = Ranking(order[:-1], errors_of(scores)[:-1], name)
        return rankings


def _parted(batches: Sequence[Feeds]) -> tuple[Sequence[Feeds], Sequence[Feeds]]:
    """The first batches, of at most so many samples, in two parts: to fit, and to measure effects on.

    A single batch is both.
    """
    used = batches[: max(1, int(np.searchsorted(_ends(batches), SAMPLES, side="right")))]
    apart = max(1, round(EFFECT_SHARE * len(used)))
    return used[:-apart] or used, used[-apart:]


def _ends(batches: Sequence[Feeds]) -> np.ndarray:
    """How many samples there are up to the end of each batch."""
    return np.cumsum([max((len(value) for value in feeds.values() if value.ndim), default=1) for feeds in batches])


def _scaled(rankings: Mapping[str, Ranking], effects: Mapping[str, float]) -> dict[str, Ranking]:
    """Rankings with scales: the measured effect of half of a group alone, over what its curve says of that.

    Groups that could not be measured get the median scale.
    """
    scales = {}
    for name, effect in effects.items():
        half = rankings[name].errors[len(rankings[name].errors) // 2]
        if np.isfinite(effect) and half > 0:
            scales[name] = effect / float(half)
    usual = float(np.median(list(scales.values()))) if scales else 1.0
    return {name: replace(one, scale=scales.get(name, usual)) for name, one in rankings.items()}
