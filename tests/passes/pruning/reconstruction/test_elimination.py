"""Structured Optimal Brain Surgeon, against solving anew after each removal."""

from __future__ import annotations

import numpy as np
import pytest
from quadratics import mean_error

from pruna_ir.passes.pruning.reconstruction.elimination import Elimination, Eliminator, Problem, problem_of
from pruna_ir.passes.pruning.reconstruction.least_squares import Normal, solve

SHARE = 0.05


def problem(seed: int, columns: list[int], groups: int = 1, outputs: int = 3, scale: float = 1.0) -> Problem:
    random = np.random.default_rng(seed)
    width = len(columns)
    rows = random.standard_normal((groups, 60, width)) @ random.standard_normal((groups, width, width))
    weights = random.standard_normal((groups, outputs, width))
    gram = rows.transpose(0, 2, 1) @ rows / 60
    cross = weights @ gram + 0.1 * random.standard_normal(weights.shape)
    power = np.full((groups, outputs), 1e3)
    zeros = np.zeros((groups, width))
    normal = Normal(gram, cross, power, zeros, np.zeros((groups, outputs)), np.zeros(groups))
    return Problem(normal, weights, np.array(columns), scale)


def eliminate(problems: list[Problem], count: int, share: float = SHARE, keep: tuple[int, ...] = ()) -> Elimination:
    return Eliminator(problems, 5, share).eliminate(count, keep)


def objective(one: Problem, removed: list[int]) -> float:
    """What the solver makes least, the pull to the prior of all columns included."""
    weights = solve_without(one, removed)
    pull = one.normal.ridge(SHARE)
    return one.scale * (mean_error(one.normal, weights) + float((pull * np.square(weights - one.prior)).sum()))


def solve_without(one: Problem, removed: list[int]) -> np.ndarray:
    """Least squares with the ridge of the whole matrix, as during an elimination."""
    kept = np.flatnonzero(~np.isin(one.columns, removed))
    pull = one.normal.ridge(SHARE)
    gram = (one.normal.gram + pull * np.eye(one.columns.size))[:, kept[:, None], kept]
    right = (one.normal.cross + pull * one.prior)[..., kept]
    weights = np.zeros_like(one.prior)
    weights[..., kept] = np.linalg.solve(gram, right.transpose(0, 2, 1)).transpose(0, 2, 1)
    return weights


PROBLEMS = {
    "blocks": [problem(0, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])],
    "blocks of several sizes, spread": [problem(1, [0, 1, 0, 2, 3, 3, 4, 3, 4, 4])],
    "columns of no unit": [problem(2, [-1, 0, 1, 2, -1, 3, 4])],
    "a unit that is not read": [problem(3, [0, 1, 2, 4]), problem(4, [3, 1, 2, 0, 4])],
    "grouped": [problem(5, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], groups=3)],
    "several readers": [problem(6, [0, 1, 2, 3, 4], scale=2.0), problem(7, [4, 4, 3, 2, 1, 0], outputs=7)],
}


@pytest.mark.parametrize("problems", PROBLEMS.values(), ids=PROBLEMS)
def test_each_step_is_the_best_and_costs_what_solving_anew_says(problems: list[Problem]) -> None:
    found = eliminate(problems, 4)
    base = sum(objective(one, []) for one in problems)
    removed: list[int] = []
    for number, unit in enumerate(found.order):
        costs = {
            other: sum(objective(one, [*removed, other]) for one in problems)
            for other in range(5)
            if other not in removed
        }
        assert costs[int(unit)] == pytest.approx(min(costs.values()))
        removed.append(int(unit))
        assert found.errors[number + 1] == pytest.approx(costs[int(unit)] - base, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("problems", PROBLEMS.values(), ids=PROBLEMS)
def test_weights_make_up_for_what_went(problems: list[Problem]) -> None:
    found = eliminate(problems, 4, keep=(0, 1, 3))
    assert list(found.weights) == [0, 1, 3]
    for number, kept in found.weights.items():
        for one, weights in zip(problems, kept, strict=True):
            np.testing.assert_allclose(weights, solve_without(one, list(found.order[:number])), rtol=1e-6, atol=1e-8)


def test_redundant_units_go_first() -> None:
    """Units 1 and 3 say the same, unit 0 is never on."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((1, 200, 5))
    rows[..., 0], rows[..., 3] = 0.0, rows[..., 1]
    gram = rows.transpose(0, 2, 1) @ rows / 200
    weights = np.ones((1, 1, 5))
    normal = Normal(gram, weights @ gram, np.ones((1, 1)), np.zeros((1, 5)), np.zeros((1, 1)), np.zeros(1))
    found = eliminate([Problem(normal, weights, np.arange(5))], 4, 1e-6)
    assert found.order[0] == 0 and found.order[1] in (1, 3)
    assert found.errors[2] < 1e-4 < found.errors[3]


def test_moments_that_are_not_finite_still_give_an_order() -> None:
    one = problem(9, [0, 1, 2, 3, 4])
    one.normal.gram[0, 0, 0] = np.nan
    found = eliminate([problem_of(one.normal, one.prior, one.columns)], 4)
    assert sorted({*range(5)} - {*found.order}) and np.isfinite(found.errors).all()
    assert solve(one.normal, one.prior, np.ones(5, bool)) is not None


@pytest.mark.parametrize("problems", PROBLEMS.values(), ids=PROBLEMS)
def test_without_a_unit_is_what_removing_it_gives(problems: list[Problem]) -> None:
    eliminator = Eliminator(problems, 5, SHARE)
    costs = eliminator.costs()
    for unit in range(5):
        for one, weights in zip(problems, eliminator.without(unit), strict=True):
            np.testing.assert_allclose(weights, solve_without(one, [unit]), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(eliminator.costs(), costs)


def test_worth_weighs_costs() -> None:
    problems = PROBLEMS["blocks"]
    plain = eliminate(problems, 4)
    worth = np.ones(5)
    worth[plain.order[0]] = 1e6
    weighed = Eliminator(problems, 5, SHARE).eliminate(4, worth=worth)
    assert plain.order[0] not in weighed.order
    double = Eliminator(problems, 5, SHARE).eliminate(4, worth=np.full(5, 2.0))
    np.testing.assert_array_equal(double.order, plain.order)
    np.testing.assert_allclose(double.errors, plain.errors)
