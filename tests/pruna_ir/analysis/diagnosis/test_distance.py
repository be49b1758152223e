"""Distances between tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pruna_ir.analysis.diagnosis.distance import Distance


def distance(*batches: tuple[list[float], list[float]]) -> Distance:
    total = Distance()
    for wanted, found in batches:
        total.add(np.array(wanted, np.float32), np.array(found, np.float32))
    return total


def test_batches_add_up() -> None:
    parts = distance(([3.0, 0.0], [3.0, 0.3]), ([0.0, 1.0], [0.1, 1.0]))
    assert parts.sqnr_db == pytest.approx(10 * math.log10(10 / 0.1))
    whole = distance(([3.0, 0.0, 0.0, 1.0], [3.0, 0.3, 0.1, 1.0]))
    assert (parts.sqnr_db, parts.cosine) == (whole.sqnr_db, whole.cosine)


def test_cosine_ignores_the_length() -> None:
    assert distance(([1.0, 2.0], [2.0, 4.0])).cosine == pytest.approx(1.0)
    assert distance(([1.0, 0.0], [0.0, 1.0])).cosine == 0.0
    assert distance(([1.0, 2.0], [-1.0, -2.0])).cosine == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("wanted", "found", "sqnr", "cosine"),
    [
        ([1.0], [1.0], math.inf, 1.0),
        ([0.0], [0.0], math.inf, 1.0),
        ([0.0], [1.0], -math.inf, 0.0),
        ([1.0, -math.inf], [1.0, -math.inf], math.inf, 1.0),
        ([1.0, math.nan], [1.0, math.nan], math.inf, 1.0),
        ([1.0, 1.0], [1.0, math.nan], -math.inf, 1.0),
        ([1.0, math.inf], [1.0, -math.inf], -math.inf, 1.0),
        ([1.0], [1.0, 1.0], -math.inf, 1.0),
    ],
)
def test_ends(wanted: list[float], found: list[float], sqnr: float, cosine: float) -> None:
    total = distance((wanted, found))
    assert total.sqnr_db == sqnr
    if len(wanted) == len(found):
        assert total.cosine == pytest.approx(cosine)
