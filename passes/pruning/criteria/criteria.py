"""The table of criteria.

A criterion gives each unit of a group a score, the larger the more it is worth. Scores are divided by their mean in the
group, so that a layer with large weights does not look more important than one with small ones; a global ranking
compares these. `obs` is no row: its scores depend on what was removed before, and come with the error curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pruna_ir.passes.pruning.criteria.slices import GroupWeights, Slices


@dataclass(frozen=True)
class Criterion:
    """A score for each unit. `needs_data`: it rests on what layers read. `needs_scales`: on BatchNormalization."""

    scores: Callable[[GroupWeights], np.ndarray]
    needs_data: bool = False
    needs_scales: bool = False


def importance(criterion: Criterion, group: GroupWeights) -> np.ndarray:
    """The scores of a group's units [size], finite, with a mean of 1 (all zero if the criterion sees nothing)."""
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.nan_to_num(criterion.scores(group), nan=0.0, posinf=np.finfo(np.float64).max / max(group.size, 1))
    mean = scores.mean()
    return np.asarray(scores / mean if mean > 0 else scores)


def errors_of(scores: np.ndarray) -> np.ndarray:
    """The error curve of independent scores: importance lost with 0, 1, ... of the worst units removed over what stays.

    It grows without bound, so that no group is emptied while others are whole, as a lost share alone would have it.
    """
    lost = np.concatenate([[0.0], np.cumsum(np.sort(scores))])
    stays = np.maximum(lost[-1] - lost, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lost > 0, lost / stays, 0.0)


def _sums(parts: tuple[Slices, ...], size: int, power: int) -> np.ndarray:
    total = np.zeros(size)
    for part in parts:
        total += part.per_unit((np.abs(part.values.astype(np.float64)) ** power).sum(axis=1), size)
    return total


def l1(group: GroupWeights) -> np.ndarray:
    """Sum of magnitudes in the weights that write the unit (Li et al. 2017, arXiv:1608.08710)."""
    return _sums(group.producers, group.size, 1)


def l2(group: GroupWeights) -> np.ndarray:
    """Energy of the weights that write the unit."""
    return _sums(group.producers, group.size, 2)


def group_l2(group: GroupWeights) -> np.ndarray:
    """Energy of all weights that hold the unit, each weight divided by its own mean energy of a unit.

    After the group norm of Torch-Pruning (Fang et al. 2023, arXiv:2301.12900), made free of the scales of layers.
    """
    total = np.zeros(group.size)
    for part in (*group.producers, *group.consumers):
        energies = _sums((part,), group.size, 2)
        total += energies / (energies.mean() or 1.0)
    return total


def bn_scale(group: GroupWeights) -> np.ndarray:
    """Magnitude of the normalizations' scales (Liu et al. 2017, arXiv:1708.06519)."""
    return _sums(group.scales, group.size, 1)


def fpgm(group: GroupWeights) -> np.ndarray:
    """Sum of the distances to all other units' weights: one near their geometric median is the easiest to replace.

    He et al. 2019, arXiv:1811.00250.
    """
    total = np.zeros(group.size)
    for part in group.producers:
        total += _distances(_joined(part, group.size))
    return total


def _joined(part: Slices, size: int) -> np.ndarray:
    """The weights of each unit as one vector [size, elements]; units with fewer rows than others end in zeros."""
    order = np.argsort(part.units, kind="stable")
    units = part.units[order]
    place = np.arange(len(units)) - np.searchsorted(units, units)
    vectors = np.zeros((size, int(place.max(initial=-1)) + 1, part.values.shape[1]))
    vectors[units, place] = part.values[order]
    return vectors.reshape(size, -1)


def _distances(vectors: np.ndarray) -> np.ndarray:
    squares = np.square(vectors).sum(axis=1)
    between = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
    np.fill_diagonal(between, 0.0)
    return np.asarray(np.sqrt(np.maximum(between, 0.0)).sum(axis=1))


def activation(group: GroupWeights) -> np.ndarray:
    """Magnitudes of the weights that read the unit, times the root mean square of what they read.

    Sun et al. 2023, arXiv:2306.11695, summed over a unit's slices.
    """
    total = np.zeros(group.size)
    for part in group.consumers:
        if part.reads is not None:
            total += _sums((part,), group.size, 1) * part.reads
    return total


def chance(group: GroupWeights) -> np.ndarray:
    """Random scores, the same in every run."""
    name = np.frombuffer(group.name.encode(), np.uint8)
    return np.random.default_rng([group.seed, *name.tolist()]).uniform(0.5, 1.5, group.size)


CRITERIA: Mapping[str, Criterion] = {
    "l1": Criterion(l1),
    "l2": Criterion(l2),
    "group-l2": Criterion(group_l2),
    "bn-scale": Criterion(bn_scale, needs_scales=True),
    "fpgm": Criterion(fpgm),
    "activation": Criterion(activation, needs_data=True),
    "random": Criterion(chance),
}
