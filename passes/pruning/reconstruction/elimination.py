"""Which units of a group are missed least: structured Optimal Brain Surgeon on what the layers behind it read.

Removing unit u from weights W that minimize a quadratic with the matrix A costs tr(W_u [(A^-1)_uu]^-1 W_u^T) once the
other weights have made up for it (Hassibi & Stork 1993; Kurtic et al. 2022 for blocks). Both W and A^-1 follow by
updates of low rank, so that the units go one by one at the cost of one inversion.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE, Normal, solve


@dataclass(frozen=True)
class Problem:
    """What one layer has to say on the units of a group.

    `normal` is its quadratic and `prior` its weights. `columns` says for each column of them which unit it belongs to,
    or -1. What the layer loses counts `scale` times.
    """

    normal: Normal
    prior: np.ndarray
    columns: np.ndarray
    scale: float = 1.0

    def within(self, kept: np.ndarray) -> Problem:
        """The same with only the `kept` columns (a mask): others are zero already."""
        columns, normal = np.flatnonzero(kept), self.normal
        gram, cross = normal.gram[:, columns[:, None], columns], normal.cross[..., columns]
        smaller = replace(normal, gram=gram, cross=cross, center=normal.center[:, columns])
        return Problem(smaller, self.prior[..., columns], self.columns[columns], self.scale)


@dataclass(frozen=True)
class Elimination:
    """Units in the order in which they are missed least, and `errors`: what the first k cost together, errors[0] = 0.

    `weights` are those that make up for the first k of them, for each problem, by k.
    """

    order: np.ndarray
    errors: np.ndarray
    weights: Mapping[int, tuple[np.ndarray, ...]]


def problem_of(normal: Normal, prior: np.ndarray, columns: np.ndarray) -> Problem:
    """The problem whose losses count relative to the variance of what is wanted."""
    power = float(normal.power.sum())
    return Problem(normal, prior, columns, 1.0 / power if np.isfinite(power) and power > 0 else 1.0)


class Eliminator:
    """Layers from which units, 0 to `units` - 1, are removed one after another."""

    def __init__(self, problems: Sequence[Problem], units: int, share: float = RIDGE) -> None:
        self._states = [_State(problem, units, share) for problem in problems]
        self._units = units

    def costs(self) -> np.ndarray:
        """What removing each unit now costs, summed over the problems [units]."""
        return sum((state.costs() for state in self._states), np.zeros(self._units))

    def without(self, unit: int) -> tuple[np.ndarray, ...]:
        """The weights of each problem that make up for one more unit; it stays."""
        return tuple(state.without(unit) for state in self._states)

    def eliminate(self, count: int, keep: Collection[int] = (), worth: np.ndarray | None = None) -> Elimination:
        """Remove `count` units, greedily, by the sum of what the problems lose.

        `keep` says for which numbers of removed units the weights are wanted. In choosing, what a unit costs counts
        `worth` [units] times, if that is given: less and less so, because it was measured with all others there.
        """
        left = np.ones(self._units, bool)
        order: list[int] = []
        errors = [0.0]
        weights = {0: self._weights} if 0 in keep else {}
        for number in range(1, count + 1):
            costs = self.costs()
            weighed = costs if worth is None else costs * worth ** (1 - len(order) / self._units)
            chosen = int(np.argmin(np.where(left, weighed, np.inf)))
            left[chosen] = False
            order.append(chosen)
            errors.append(errors[-1] + max(float(costs[chosen]), 0.0))
            for state in self._states:
                state.remove(chosen)
            if number in keep:
                weights[number] = self._weights
        return Elimination(np.array(order, np.int64), np.array(errors), weights)

    @property
    def _weights(self) -> tuple[np.ndarray, ...]:
        return tuple(state.weights for state in self._states)


class _State:
    """Weights and inverse matrix of one problem, from which units are removed one after another."""

    def __init__(self, problem: Problem, units: int, share: float) -> None:
        self._scale = problem.scale
        self.weights = solve(problem.normal, problem.prior, np.ones(len(problem.columns), bool), share)
        normal = problem.normal
        if not np.isfinite(normal.gram).all():
            normal = replace(normal, gram=np.zeros_like(normal.gram))
        self._inverse = np.linalg.inv(normal.damped(share))
        self._columns = [np.flatnonzero(problem.columns == unit) for unit in range(units)]
        self._left = np.ones(units, bool)
        sizes = np.array([len(columns) for columns in self._columns])
        # Blocks of one size are looked at together.
        self._alike = [np.flatnonzero(sizes == size) for size in np.unique(sizes) if size]

    def costs(self) -> np.ndarray:
        """What removing each unit costs now; 0 for those that the layer does not read, or no longer does."""
        costs = np.zeros(len(self._columns))
        for alike in self._alike:
            units = alike[self._left[alike]]
            if not units.size:
                continue
            index = np.stack([self._columns[unit] for unit in units])
            blocks = np.linalg.inv(self._inverse[:, index[:, :, None], index[:, None, :]])
            # [groups, units, outputs, size]
            weights = self.weights[:, :, index].transpose(0, 2, 1, 3)
            costs[units] = ((weights @ blocks) * weights).sum(axis=(0, 2, 3))
        return costs * self._scale

    def without(self, unit: int) -> np.ndarray:
        """The weights that make up for a unit: a new array."""
        columns = self._columns[unit]
        weights = self.weights - self.weights[..., columns] @ self._step(columns).transpose(0, 2, 1)
        weights[..., columns] = 0.0
        return np.asarray(weights)

    def remove(self, unit: int) -> None:
        """Take a unit out, and let the other weights make up for it."""
        columns = self._columns[unit]
        self._left[unit] = False
        if not columns.size:
            return
        self.weights = self.without(unit)
        self._inverse = self._inverse - self._step(columns) @ self._inverse[:, columns]
        # A removed column stays out of every later update.
        self._inverse[:, columns, :] = self._inverse[:, :, columns] = 0.0

    def _step(self, columns: np.ndarray) -> np.ndarray:
        """How far the weights move for each removed weight [groups, width, columns]."""
        beside = self._inverse[:, :, columns]
        return np.asarray(beside @ np.linalg.inv(beside[:, columns]))
