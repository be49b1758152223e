"""How much each group of a model can lose: error curves of the layers behind it, and measured effect on the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.gram import Feeds, rounds
from pruna_ir.passes.pruning.reconstruction.effects import Effect, Effects
from pruna_ir.passes.pruning.reconstruction.elimination import Eliminator, problem_of
from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE
from pruna_ir.passes.pruning.reconstruction.observations import most_rows
from pruna_ir.passes.pruning.reconstruction.outputs import Distance
from pruna_ir.passes.pruning.reconstruction.reading import Reading
from pruna_ir.passes.pruning.reconstruction.reads import Coupled
from pruna_ir.passes.pruning.reconstruction.sites import Edits, Site, Slot
from pruna_ir.runtime.capture import capture
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.model import Model

Progress = Callable[[str, int, int], None]
# Shares of a group whose removal is tried alone: what least squares cannot hide grows faster than their error.
TRIED = (0.125, 0.25, 0.5)
# Single units are tried that cost least to remove, this share of them.
UNITS = 0.5


@dataclass(frozen=True)
class Curve:
    """What a group of n units loses: `order` [n - 1] has the units, the one that is missed least first.

    `errors` [n] is the squared error of the outputs of the layers behind the group with the first k removed and least
    squares done, relative to the variance of these outputs and summed over the layers; errors[0] is 0. `trials` are,
    for some k, the constants of these layers that make up for the first k. `worth` [n] is what the cost of each unit
    was multiplied by.
    """

    order: np.ndarray
    errors: np.ndarray
    trials: Mapping[int, Edits]
    worth: np.ndarray

    def measured(self, effects: Mapping[int, float]) -> np.ndarray:
        """The errors in units of measured effects [n], by k: between two of these, their ratio to the errors changes
        geometrically with k, and beyond it stays."""
        known = [(k, effect / self.errors[k]) for k, effect in sorted(effects.items()) if k and self.errors[k] > 0]
        known = [(k, ratio) for k, ratio in known if np.isfinite(ratio) and ratio > 0]
        if not known:
            return self.errors
        places, ratios = zip(*known, strict=True)
        removed = np.maximum(np.arange(len(self.errors)), 1)
        return np.asarray(self.errors * np.exp(np.interp(np.log(removed), np.log(places), np.log(ratios))))


def survey(
    model: Model,
    groups: Sequence[Coupled],
    batches: Sequence[Feeds],
    *,
    ridge: float = RIDGE,
    effects: Effects | None = None,
    progress: Progress | None = None,
) -> dict[str, Curve]:
    """The curve of every group whose readers are all layers that can be solved, each group alone in the whole model.

    With `effects`, what a unit costs is weighed by what its removal alone does to the outputs: the layers behind do not
    know which of their errors matter.
    """
    curves: dict[str, Curve] = {}
    known = {group.name: group for group in groups if group.solvable}
    layers = {name: [read.site.layer for read in group.reads if read.site] for name, group in known.items()}
    for names in rounds(layers):
        sites = {read.site.key: read.site for name in names for read in known[name].reads if read.site}
        readings = _readings(model, list(sites.values()), batches)
        for name in names:
            if progress is not None:
                progress("measuring what groups can lose", len(curves), len(known))
            curves[name] = _curve(known[name], readings, ridge, effects)
    return curves


def _readings(model: Model, sites: Sequence[Site], batches: Sequence[Feeds]) -> dict[str, Reading]:
    """What the sites read; those that read the same rows share a matrix."""
    sources = {(site.layer.tensor, site.layer.rows, site.bias_slot is None): Reading(site) for site in sites}

    def receive(number: int, values: Mapping[str, np.ndarray]) -> None:
        for (tensor, _, _), reading in sources.items():
            if tensor in values:
                rows = values[tensor].astype(np.float32, copy=False)
                reading.add(reading.site.rows(rows, number, most_rows(reading.site, len(batches))))

    tensors = list(dict.fromkeys(tensor for tensor, _, _ in sources))
    for number, feeds in enumerate(batches):
        receive(number, {name: feeds[name] for name in tensors if name in feeds})
    inner = [tensor for tensor in tensors if tensor not in batches[0]]
    if inner:
        capture(model, batches, inner, receive, threads=few_threads())
    return {site.key: sources[site.layer.tensor, site.layer.rows, site.bias_slot is None] for site in sites}


def _curve(group: Coupled, readings: Mapping[str, Reading], ridge: float, effects: Effects | None) -> Curve:
    sites = [read.site for read in group.reads if read.site is not None]
    columns = [read.columns for read in group.reads if read.site is not None]
    problems = [
        problem_of(readings[site.key].unchanged(site), site.matrix, held)
        for site, held in zip(sites, columns, strict=True)
    ]

    def edits(solution: Sequence[np.ndarray]) -> Edits:
        found: dict[Slot, np.ndarray] = {}
        for site, problem, weights in zip(sites, problems, solution, strict=True):
            found |= site.edits(weights, problem.normal.bias(weights))
        return found

    wanted = {max(int(share * group.size), 1) for share in TRIED} if group.size > 1 else set()
    eliminator = Eliminator(problems, group.size, ridge)
    worth = np.ones(group.size) if effects is None else _worth(eliminator, edits, effects)
    found = eliminator.eliminate(group.size - 1, wanted, worth)
    return Curve(found.order, found.errors, {k: edits(solution) for k, solution in found.weights.items()}, worth)


def _worth(eliminator: Eliminator, edits: Callable[[Sequence[np.ndarray]], Edits], effects: Effects) -> np.ndarray:
    """What the outputs lose for what removing each unit costs, relative to the usual; 1 where not tried."""
    costs = eliminator.costs()
    tried = [int(unit) for unit in np.argsort(costs)[: round(UNITS * len(costs))] if costs[unit] > 0]
    if not tried:
        return np.ones(len(costs))
    effect = Effect(effects, edits(eliminator.without(tried[0])))
    ratios = np.array([effect.of(edits(eliminator.without(unit))) / costs[unit] for unit in tried])
    usual = float(np.median(ratios))
    if not (np.isfinite(ratios).all() and usual > 0):
        return np.ones(len(costs))
    worth = np.full(len(costs), usual)
    worth[tried] = ratios
    return worth / usual


def sensitivity(
    model: Model,
    groups: Sequence[Coupled],
    curves: Mapping[str, Curve],
    batches: Sequence[Feeds],
    *,
    metric: Distance | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[int, float]]:
    """How far the outputs of the model move with k units of each group removed, by k: see `Effects`.

    Each group is cut alone. `batches` should not be those of the survey: least squares hide there what they do.
    """
    effects = Effects(model.to_proto(), batches, metric)
    found: dict[str, dict[int, float]] = {}
    for group in groups:
        if group.name in curves:
            if progress is not None:
                progress("measuring each group's effect", len(found), len(curves))
            trials = curves[group.name].trials
            effect = Effect(effects, next(iter(trials.values()))) if trials else None
            found[group.name] = {k: effect.of(edits) for k, edits in trials.items()} if effect is not None else {}
    return found
