"""Common factors of two shapes."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.analysis.axes.factors import Dim, Factor, Lump, factorize


def sizes(before: list[Dim], after: list[Dim]) -> list[tuple[int | None, int, int]]:
    factors, lump = factorize(before, after)
    assert (lump.sources, lump.targets) == ((), ())
    return [(factor.size, factor.source, factor.target) for factor in factors]


def test_joins_and_splits() -> None:
    assert sizes([4, 6], [2, 12]) == [(2, 0, 0), (2, 0, 1), (6, 1, 1)]
    assert sizes([2, 3, 4], [24]) == [(2, 0, 0), (3, 1, 0), (4, 2, 0)]
    assert sizes([1, 8, 2, 1], [8, 1, 2]) == [(8, 1, 0), (2, 2, 2)]


def test_symbols_are_sizes_of_their_own() -> None:
    assert sizes(["b", "t", 768], ["b", "t", 12, 64]) == [(None, 0, 0), (None, 1, 1), (12, 2, 2), (64, 2, 3)]
    assert sizes([197, "b", 768], [197, None, 64]) == [(197, 0, 0), (None, 1, 1), (12, 2, 1), (64, 2, 2)]
    assert sizes(["b", 8, 14, 14], ["b", None]) == [(None, 0, 0), (8, 1, 1), (14, 2, 1), (14, 3, 1)]


def test_axes_without_common_factors() -> None:
    assert factorize([5, 4, 6], [5, 3, 8]) == ([Factor(5, 0, 0)], Lump((1, 2), (1, 2), place=1))
    assert factorize([4, 6, 5], [3, 8, 5]) == ([Factor(5, 2, 2)], Lump((0, 1), (0, 1)))
    assert factorize([0, 3], [0, 5]) == ([], Lump((0, 1), (0, 1)))


def test_unknown_sizes_leave_what_is_around_them() -> None:
    factors, lump = factorize(["b", "t", 768], ["x", "y", 12, 64])
    assert factors == [Factor(12, 2, 2), Factor(64, 2, 3)]
    assert lump == Lump((0, 1), (0, 1))


@st.composite
def refined(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Two shapes of the same number of elements, both joined from the same factors."""
    parts = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=6))
    joins = st.lists(st.integers(0, 1), min_size=len(parts), max_size=len(parts))

    def join() -> list[int]:
        shape: list[int] = []
        for part, joined in zip(parts, draw(joins), strict=True):
            if shape and joined:
                shape[-1] *= part
            else:
                shape.append(part)
        return shape

    return join(), join()


@given(refined())
def test_factors_multiply_to_both_shapes(shapes: tuple[list[int], list[int]]) -> None:
    before, after = shapes
    factors, lump = factorize(before, after)
    for shape, side, left in ((before, "source", lump.sources), (after, "target", lump.targets)):
        products = [prod(f.size or 0 for f in factors if getattr(f, side) == axis) for axis in range(len(shape))]
        assert all(axis in left or product == shape[axis] for axis, product in enumerate(products))


@pytest.mark.parametrize(("before", "after"), [((4, 6), (2, 12)), ((2, 6, 5), (4, 3, 5)), ((8, 3), (2, 4, 3))])
def test_factors_are_in_the_order_of_elements(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """An element has the same place in the tensor of factors, before and after."""
    factors, _ = factorize(before, after)
    numbers = np.arange(prod(before)).reshape([factor.size or 0 for factor in factors])
    for axis, size in enumerate(before):
        inside = tuple(place for place, factor in enumerate(factors) if factor.source == axis)
        others = tuple(place for place in range(len(factors)) if place not in inside)
        moved = numbers.transpose(others + inside).reshape(-1, size)
        stride = prod(before[axis + 1 :])
        assert (np.diff(moved, axis=1) == stride).all()
