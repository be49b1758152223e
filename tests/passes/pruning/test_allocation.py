"""How many units of each group stay under a budget: next to trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from pruna_ir.passes.pruning.allocation.costs import Cost, Extent, Term
from pruna_ir.passes.pruning.allocation.curves import Curve, allowed_widths, nearest
from pruna_ir.passes.pruning.allocation.solve import floor_of, solve


def chain(*sizes: int) -> Cost:
    """Convolutions in a row: 3 channels, then groups a, b, ... of these sizes, then 10 outputs."""
    names = [chr(ord("a") + index) for index in range(len(sizes))]
    extents = [Extent(3), *(Extent(0, {name: 1.0}) for name in names), Extent(10)]
    return Cost([Term(9.0, pair) for pair in itertools.pairwise(extents)])


def best_by_trying(curves: list[Curve], cost: Cost, limit: float) -> float:
    """The least error of all choices within the limit."""
    found = math.inf
    for widths in itertools.product(*(curve.widths for curve in curves)):
        if cost.at({curve.name: int(width) for curve, width in zip(curves, widths, strict=True)}) <= limit:
            found = min(found, total_error(curves, [int(width) for width in widths]))
    return found


def total_error(curves: list[Curve], widths: list[int]) -> float:
    return sum(
        float(curve.errors[list(curve.widths).index(width)]) for curve, width in zip(curves, widths, strict=True)
    )


def random_curves(seed: int, *sizes: int, step: int = 1) -> list[Curve]:
    """Rising curves; half of them convex, as removing the least important first makes them."""
    rng = np.random.default_rng(seed)
    curves = []
    for index, size in enumerate(sizes):
        steps = rng.exponential(size=size) * rng.uniform(0.1, 10)
        errors = np.concatenate([[0.0], np.cumsum(np.sort(steps) if index % 2 else steps)])
        curves.append(Curve.of(chr(ord("a") + index), errors, allowed_widths(size, 1, step, 1)))
    return curves


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("left", [0.75, 0.5, 0.3])
def test_near_the_optimum_and_within_the_limit(seed: int, left: float) -> None:
    """Multipliers find the lower hull: with ten widths a group the gap to the optimum is a step or so."""
    sizes = (10, 8, 12)
    curves, cost = random_curves(seed, *sizes), chain(*sizes)
    limit = left * cost.at({"a": 10, "b": 8, "c": 12})
    widths = solve(curves, cost, limit)
    assert widths is not None and cost.at(widths) <= limit * (1 + 1e-9)
    found = total_error(curves, [widths[curve.name] for curve in curves])
    largest_step = max(float(np.diff(curve.errors[::-1]).max()) for curve in curves)
    assert found <= best_by_trying(curves, cost, limit) + largest_step


def test_no_single_widening_is_left_over() -> None:
    curves, cost = random_curves(3, 16, 16), chain(16, 16)
    limit = 0.5 * cost.at({"a": 16, "b": 16})
    widths = solve(curves, cost, limit)
    assert widths is not None
    for name in widths:
        assert widths[name] == 16 or cost.at({**widths, name: widths[name] + 1}) > limit


def test_important_group_is_spared() -> None:
    """Two groups that cost the same: the one whose errors weigh ten times as much stays wider."""
    cost = Cost([Term(1.0, (Extent(0, {"a": 1.0}),)), Term(1.0, (Extent(0, {"b": 1.0}),))])
    errors = np.arange(17.0) ** 2
    widths = solve([Curve.of(n, errors, np.arange(1, 17), s) for n, s in (("a", 1.0), ("b", 10.0))], cost, 16)
    assert widths is not None and widths["b"] > widths["a"] and sum(widths.values()) == 16


def test_nothing_to_do_keeps_everything() -> None:
    curves, cost = random_curves(0, 4, 4), chain(4, 4)
    assert solve(curves, cost, cost.at({"a": 4, "b": 4})) == {"a": 4, "b": 4}


def test_below_the_floor_there_is_no_solution() -> None:
    curves, cost = random_curves(0, 16, 16, step=8), chain(16, 16)
    assert floor_of(curves) == {"a": 8, "b": 8}
    floor = cost.at(floor_of(curves))
    assert solve(curves, cost, floor) == {"a": 8, "b": 8}
    assert solve(curves, cost, floor * 0.99) is None


def test_same_group_on_both_axes_costs_its_square() -> None:
    cost = Cost([Term(2.0, (Extent(0, {"a": 1.0}), Extent(1, {"a": 0.5})))])
    assert cost.along("a", np.array([2, 4]), {"a": 8}).tolist() == [2 * 2 * 2, 2 * 4 * 3]


def test_errors_without_a_difference_remove_no_more_than_they_must() -> None:
    curves = [Curve.of(name, [0.0] * 17, np.arange(1, 17)) for name in "ab"]
    cost = Cost([Term(1.0, (Extent(0, {name: 1.0}),)) for name in "ab"])
    widths = solve(curves, cost, 20)
    assert widths is not None and sum(widths.values()) == 20


def test_infinite_errors_are_avoided_where_they_can_be() -> None:
    curves = [Curve.of("a", [0, 1, math.inf], np.array([1, 2, 3])), Curve.of("b", [0, 5, 6], np.array([1, 2, 3]))]
    cost = Cost([Term(1.0, (Extent(0, {name: 1.0}),)) for name in "ab"])
    assert solve(curves, cost, 4) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("size", "channels", "round_to", "least", "expected"),
    [
        (6, 1, 1, 1, [1, 2, 3, 4, 5, 6]),
        (64, 1, 16, 1, [16, 32, 48, 64]),
        (40, 1, 16, 1, [16, 32, 40]),  # all stay, aligned or not
        (16, 1, 16, 1, [16]),
        (12, 1, 16, 1, [12]),
        (12, 64, 16, 1, list(range(1, 13))),  # heads: each is aligned
        (8, 6, 16, 1, [8]),  # 48 channels in all: 8 units are the first multiple of 16
        (16, 2, 8, 16, [8, 12, 16]),  # at least 16 channels, 8 units
        (1, 1, 1, 1, [1]),
    ],
)
def test_allowed_widths(size: int, channels: int, round_to: int, least: int, expected: list[int]) -> None:
    assert allowed_widths(size, channels, round_to, least).tolist() == expected


def test_nearest_width_prefers_the_larger() -> None:
    widths = np.array([8, 16, 24])
    assert [nearest(widths, wanted) for wanted in (1.0, 12.0, 12.1, 19.9, 99.0)] == [8, 16, 16, 16, 24]


def test_curve_rises_and_continues() -> None:
    curve = Curve.of("a", [0, 2, 1, 3], np.array([2, 4, 8]), scale=10)
    assert curve.errors.tolist() == [30, 30, 0]
    assert Curve.of("a", [0, 2, 1, 3], np.arange(4, 9)).errors.tolist() == [3, 3, 2, 2, 0]
    assert curve.full == 8 and curve.up_to(4).widths.tolist() == [2, 4]
