"""Whole numbers with unknowns."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.symbolic import Entry, Expr

N, H = (symbolic.symbol((name, 0), nonnegative=True) for name in "nh")
ANY = symbolic.symbol(("any", 0))

_EXACT: dict[str, Callable[[int, int], int]] = {
    "Add": lambda first, second: first + second,
    "Mul": lambda first, second: first * second,
    "Div": lambda first, second: math.trunc(first / second),
    "Mod": lambda first, second: first % second,
    "Min": min,
    "Max": max,
}


def value(entry: Entry, sizes: dict[object, int]) -> int:
    """An expression in numbers."""
    if not isinstance(entry, Expr):
        return int(entry)
    return sum(factor * math.prod(_symbol(item.key, sizes) for item in factors) for factors, factor in entry.terms)


def _symbol(key: object, sizes: dict[object, int]) -> int:
    if key in sizes:
        return sizes[key]
    assert isinstance(key, tuple)
    name, first, second = key
    return _EXACT[name](value(first, sizes), value(second, sizes))


@st.composite
def computations(draw: st.DrawFn, depth: int = 4) -> tuple[Entry, Callable[[dict[object, int]], int]]:
    """An expression, and the same computation on numbers."""
    kind = draw(st.sampled_from(["n", "h", "number", *_STEPS])) if depth else "n"
    if kind == "number":
        number = draw(st.integers(-4, 8))
        return number, lambda sizes: number
    if kind not in _STEPS:
        return (N, lambda sizes: sizes["n", 0]) if kind == "n" else (H, lambda sizes: sizes["h", 0])
    first, exact_first = draw(computations(depth - 1))
    second, exact_second = draw(computations(depth - 1))
    symbolically, exactly = _STEPS[kind]
    return symbolically(first, second), lambda sizes: exactly(exact_first(sizes), exact_second(sizes))


_STEPS: dict[str, tuple[Callable[[Entry, Entry], Entry], Callable[[int, int], int]]] = {
    "add": (symbolic.add, lambda first, second: first + second),
    "subtract": (symbolic.subtract, lambda first, second: first - second),
    "multiply": (symbolic.multiply, lambda first, second: first * second),
    "divide": (symbolic.divide, lambda first, second: math.trunc(first / second)),
    "remainder": (symbolic.remainder, lambda first, second: first % second),
    "smaller": (symbolic.smaller, min),
    "larger": (symbolic.larger, max),
}


@given(computations(), st.integers(0, 7), st.integers(1, 9))
def test_same_as_on_numbers(
    computation: tuple[Entry, Callable[[dict[object, int]], int]], batch: int, height: int
) -> None:
    entry, exactly = computation
    sizes: dict[object, int] = {("n", 0): batch, ("h", 0): height}
    try:
        expected = exactly(sizes)
    except ZeroDivisionError:
        return  # nor does the graph run
    assert value(entry, sizes) == expected
    assert symbolic.lowest(entry) <= expected


@given(computations(), computations(), st.integers(0, 7), st.integers(1, 9))
def test_comparisons(
    first: tuple[Entry, Callable[[dict[object, int]], int]],
    second: tuple[Entry, Callable[[dict[object, int]], int]],
    batch: int,
    height: int,
) -> None:
    sizes: dict[object, int] = {("n", 0): batch, ("h", 0): height}
    try:
        mine, other = first[1](sizes), second[1](sizes)
    except ZeroDivisionError:
        return
    order = symbolic.compare(first[0], second[0])
    assert order is None or order == (mine > other) - (mine < other)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (symbolic.multiply(N, H), symbolic.multiply(H, N)),
        (
            symbolic.divide(symbolic.multiply(symbolic.multiply(6, N), H), symbolic.multiply(2, N)),
            symbolic.multiply(3, H),
        ),
        (symbolic.subtract(symbolic.add(N, H), N), H),
        (symbolic.divide(symbolic.add(N, 1), 2), symbolic.divide(symbolic.add(1, N), 2)),
        (symbolic.larger(N, 0), N),
        (symbolic.larger(N, H), symbolic.larger(H, N)),
        (symbolic.remainder(symbolic.multiply(N, 4), 2), 0),
        (symbolic.smaller(symbolic.add(N, 1), 0), 0),
    ],
)
def test_one_form(first: Entry, second: Entry) -> None:
    assert first == second


def test_what_depends_is_not_decided() -> None:
    assert symbolic.compare(N, 1) is None
    assert symbolic.compare(N, -1) == 1
    assert symbolic.compare(ANY, -1) is None
    assert symbolic.divide_exactly(symbolic.add(N, 1), 2) is None


def test_large_expressions_stay_small() -> None:
    """A product of 40 sums of two has 2 ** 40 terms when it is written out, and each symbol holds the ones before."""
    first: Entry = N
    second: Entry = N
    for _ in range(40):
        first = symbolic.multiply(first, symbolic.add(symbolic.divide(first, 3), H))
        second = symbolic.multiply(symbolic.add(H, symbolic.divide(second, 3)), second)
    assert isinstance(first, Expr)
    assert len(first.terms) <= 32
    assert first == second
