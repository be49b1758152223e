"""Which of many approximations to leave out so that a model keeps its score: those that damage it most."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from pruna_ir.diagnostics import PrunaError

if TYPE_CHECKING:
    from pruna_ir.analysis.accuracy import Evaluator
    from pruna_ir.model import Model

Chosen = frozenset[int]
Progress = Callable[[str, int, int], None]


def too_damaging(
    changes: int, build: Callable[[Chosen], Model], evaluator: Evaluator, max_drop: float, progress: Progress
) -> list[int]:
    """The fewest of `changes` to leave out, by number, that let the rest keep the score within `max_drop`.

    `build` makes the model with some of the changes. Where all of them together cost too much, the noise that each
    adds to the outputs alone says in which order they are left out, and bisection how many: errors of separate places
    add up nearly as independent noise does, so each is measured once. All are left out if nothing else helps.
    """
    everything: Chosen = frozenset(range(changes))

    def keeps(chosen: Chosen) -> bool:
        return evaluator.acceptable(unless_refused(lambda: evaluator.drop(build(chosen)), math.inf), max_drop)

    if not changes or keeps(everything):
        return []
    quality: list[float] = []
    for index in range(changes):
        progress("measuring each change's damage", index, changes)
        quality.append(unless_refused(lambda: evaluator.compare(build(frozenset({index})))[0], -math.inf))  # noqa: B023
    worst_first = sorted(range(changes), key=quality.__getitem__)
    first, last = 1, changes
    while first < last:
        progress("checking accuracy", first, changes)
        middle = (first + last) // 2
        if keeps(everything.difference(worst_first[:middle])):
            last = middle
        else:
            first = middle + 1
    return sorted(worst_first[:first])


def unless_refused(measure: Callable[[], float], otherwise: float) -> float:
    """A measurement, or `otherwise` where the runtime does not take the model: its fusions have bugs of their own."""
    try:
        return measure()
    except PrunaError as failure:
        if failure.diagnostic.code != "M009":
            raise
        return otherwise
