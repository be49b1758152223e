"""Leaving out the approximations that damage a model most."""

from __future__ import annotations

from typing import Any

import pytest

from pruna_ir.analysis.damage import Chosen, too_damaging
from pruna_ir.diagnostics import PrunaError, error

NOISE = (0.1, 5.0, 0.2, 3.0, 0.4)


class Sum:
    """Scores a set of changes, which stands for a model, by the sum of their noise."""

    def __init__(self, noise: tuple[float, ...] = NOISE) -> None:
        self.noise = noise
        self.scored: list[Any] = []

    def drop(self, chosen: Any) -> float:
        self.scored.append(chosen)
        return self._total(chosen)

    def compare(self, chosen: Any) -> tuple[float, float]:
        return -self._total(chosen), 0.0

    def acceptable(self, drop: float, limit: float) -> bool:
        return drop <= limit

    def _total(self, chosen: Chosen) -> float:
        return float(sum(self.noise[index] for index in chosen))


def left_out(limit: float, evaluator: Any = None) -> list[int]:
    return too_damaging(len(NOISE), lambda chosen: chosen, evaluator or Sum(), limit, lambda *_: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(9.0, []), (8.0, [1]), (1.0, [1, 3]), (0.5, [1, 3, 4]), (0.2, [1, 2, 3, 4]), (0.0, [0, 1, 2, 3, 4])],
)
def test_the_fewest_and_worst_are_left_out(limit: float, expected: list[int]) -> None:
    assert left_out(limit) == expected


def test_nothing_more_is_measured_where_all_may_stay() -> None:
    evaluator = Sum()
    left_out(9.0, evaluator)
    assert evaluator.scored == [frozenset(range(5))]


def test_nothing_helps() -> None:
    assert left_out(-1.0) == [0, 1, 2, 3, 4]


def test_no_changes() -> None:
    assert too_damaging(0, lambda _: pytest.fail("built"), Sum(), 0.0, lambda *_: None) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["M009", "M006"])
def test_a_change_that_the_runtime_refuses_is_left_out(code: str) -> None:
    def build(chosen: Chosen) -> Any:
        if 2 in chosen:
            raise error(code, "refused")
        return chosen

    def run() -> list[int]:
        return too_damaging(len(NOISE), build, Sum(), 100.0, lambda *_: None)  # type: ignore[arg-type]

    if code == "M009":
        assert run() == [2]
    else:
        with pytest.raises(PrunaError):
            run()
