"""The choice under budgets, against trying all of them."""

from __future__ import annotations

import itertools
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.diagnostics import PrunaError
from pruna_ir.passes.precision.budget import Limits, Way, solve, total

FIGURES = ("noise", "time", "bytes")
numbers = st.integers(-20, 20).map(lambda number: number / 4)
ways = st.builds(Way, st.sampled_from(["int8", "float16"]), numbers.map(abs), numbers, numbers)
problems = st.lists(st.lists(ways, min_size=1, max_size=3), min_size=1, max_size=4)
limits = st.builds(Limits, *[st.one_of(st.just(math.inf), numbers)] * 3)


def fits(chosen: tuple[Way, ...] | list[Way], limit: Limits) -> bool:
    return all(total(chosen, figure) <= getattr(limit, figure) + 1e-6 for figure in FIGURES)


@given(problems, limits, st.sampled_from(FIGURES))
def test_is_the_best_that_fits(groups: list[list[Way]], limit: Limits, figure: str) -> None:
    found = solve(groups, figure, limit)
    possible = [chosen for chosen in itertools.product(*groups) if fits(chosen, limit)]
    assert (found is None) == (not possible)
    if found is not None:
        assert fits(found, limit)
        assert all(way in group for way, group in zip(found, groups, strict=True))
        best = min(total(chosen, figure) for chosen in possible)
        assert total(found, figure) <= best + 0.01  # the other figures count a ten thousandth


def test_equally_good_choices_differ_in_the_others() -> None:
    groups = [[Way("float32"), Way("float16", noise=1e-6, bytes=-0.1)]]
    assert [way.name for way in solve(groups, "time", Limits()) or []] == ["float16"]


def test_small_figures_count_as_well() -> None:
    """Noise is a millionth where time is a tenth."""
    groups = [[Way("float32"), Way("int8", noise=3e-7, time=-0.1)] for _ in range(2)]
    chosen = solve(groups, "time", Limits(noise=4e-7)) or []
    assert sorted(way.name for way in chosen) == ["float32", "int8"]


def test_nothing_to_choose() -> None:
    assert solve([], "noise", Limits()) == []


def test_needs_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(PrunaError) as failure:
        solve([[Way("int8")]], "noise", Limits())
    assert failure.value.diagnostic.code == "X001"
