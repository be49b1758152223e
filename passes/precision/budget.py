"""Choosing one way for each of several groups under budgets: a mixed-integer linear program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pruna_ir.diagnostics import error


@dataclass(frozen=True)
class Way:
    """One way to compute a group.

    `noise` is what it adds to the outputs over their energy; `time` and `bytes` are what it adds to the model's (below
    zero: saves), as fractions of the model's.
    """

    name: str
    noise: float = 0.0
    time: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class Limits:
    """The most that the chosen ways may add up to, each."""

    noise: float = math.inf
    time: float = math.inf
    bytes: float = math.inf


# The figures, and what each counts where another one is minimized.
_MINOR = {"noise": 1e-6, "time": 1e-4, "bytes": 1e-4}


def total(chosen: Sequence[Way], figure: str) -> float:
    """The sum of a figure over the chosen ways."""
    return float(sum(getattr(way, figure) for way in chosen))


def solve(groups: Sequence[Sequence[Way]], minimize: str, limits: Limits) -> list[Way] | None:
    """One way for each group with the least `minimize` (noise, time or bytes) within the limits; None if none fits.

    Of equally good choices it takes the one that is better in the other figures. Solved exactly, by HiGHS through
    scipy; raises X001 where that is not installed.
    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError:
        raise error("X001", "scipy is not installed", help="pip install 'pruna-ir[search]'") from None
    ways = [way for group in groups for way in group]
    if not ways:
        return []
    rows: list[Any] = [LinearConstraint(_one_each(groups), 1, 1)]
    for figure in _MINOR:
        limit = getattr(limits, figure)
        if math.isfinite(limit):
            values, scale = _scaled(ways, figure)
            rows.append(LinearConstraint(values[None, :], -np.inf, limit / scale))
    costs = sum(_scaled(ways, figure)[0] * (1.0 if figure == minimize else minor) for figure, minor in _MINOR.items())
    found = milp(costs, integrality=np.ones(len(ways)), bounds=Bounds(0, 1), constraints=rows)
    if found.x is None:
        return None
    return [way for way, taken in zip(ways, found.x, strict=True) if taken > 0.5]


def _one_each(groups: Sequence[Sequence[Way]]) -> np.ndarray:
    rows = np.zeros((len(groups), sum(map(len, groups))))
    start = 0
    for index, group in enumerate(groups):
        rows[index, start : start + len(group)] = 1
        start += len(group)
    return rows


def _scaled(ways: Sequence[Way], figure: str) -> tuple[np.ndarray, float]:
    """The figure of every way, and what it was divided by so that the solver's tolerances mean something."""
    values = np.array([getattr(way, figure) for way in ways], np.float64)
    scale = float(np.abs(values).max()) or 1.0
    return values / scale, scale
