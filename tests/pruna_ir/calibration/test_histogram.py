"""Float-bit buckets: every value in the bucket whose bounds hold it, ascending means ascending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.calibration.histogram import COARSE, FINE, Buckets

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("buckets", [FINE, COARSE])
@given(value=FLOATS)
def test_a_value_lies_in_its_bucket(buckets: Buckets, value: float) -> None:
    index = int(buckets.index(np.array([value]))[0])
    low, high = (bound[index] for bound in buckets.bounds)
    assert buckets.finite[index]
    assert low <= value <= high


@given(first=FLOATS, second=FLOATS)
def test_ascending_buckets_ascend(first: float, second: float) -> None:
    position = np.argsort(np.append(FINE.ascending, np.flatnonzero(~FINE.finite)))
    low, high = sorted([first, second])
    assert position[FINE.index(np.array(low))] <= position[FINE.index(np.array(high))] or low == high == 0


def test_bounds_tile_the_line() -> None:
    low, high = (bound[FINE.ascending] for bound in FINE.bounds)
    np.testing.assert_array_equal(high[:-1], low[1:])
    assert high[-1] == -low[0] == np.finfo(np.float32).max


def test_buckets_are_narrow() -> None:
    low, high = (bound[FINE.ascending] for bound in FINE.bounds)
    normal = np.minimum(abs(low), abs(high)) >= np.finfo(np.float32).tiny
    assert np.max((high - low)[normal] / np.minimum(abs(low), abs(high))[normal]) <= 1 / 32 + 1e-7


def test_infinities_and_nan_have_buckets_of_their_own() -> None:
    assert not FINE.finite[FINE.index(np.array([np.inf, -np.inf, np.nan], np.float32))].any()
    assert FINE.finite.sum() == FINE.size - 2 * 32


def test_counts_add_up() -> None:
    values = np.random.default_rng(0).standard_normal((7, 50)).astype(np.float32)
    parts = FINE.count(FINE.index(values[:3])) + FINE.count(FINE.index(values[3:]))
    np.testing.assert_array_equal(parts, FINE.count(FINE.index(values)))
    assert parts.shape == (FINE.size,)
    assert parts.sum() == values.size
