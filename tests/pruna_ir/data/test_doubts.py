"""Data that decisions should not rest on are named as such."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.data import Dataset
from pruna_ir.data.doubts import LOOKED_AT, doubts
from pruna_ir.model.spec import TensorSpec

INPUTS = (TensorSpec("x", np.dtype(np.float32), ("n", 4)),)


def found(calibration: object, metric: str | None = None) -> list[str]:
    return list(doubts(Dataset.from_arrays(calibration, metric=metric).bind(INPUTS)))


def varied(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)


def test_nothing_to_say_about_samples_that_differ() -> None:
    assert found(varied(2)) == []


def test_one_sample() -> None:
    (doubt,) = found(varied(1))
    assert "one sample" in doubt


@pytest.mark.parametrize(("count", "which"), [(3, "all 3"), (LOOKED_AT, "all 16"), (LOOKED_AT + 1, "the first 16")])
def test_equal_samples(count: int, which: str) -> None:
    (doubt,) = found(np.full((count, 4), 0.5, np.float32))
    assert which in doubt and "are equal" in doubt


def test_one_that_differs_is_enough() -> None:
    samples = np.zeros((LOOKED_AT, 4), np.float32)
    samples[-1, 2] = 1
    assert found(samples) == []


@pytest.mark.parametrize(("metric", "labelled", "count"), [("top1", False, 1), ("top1", True, 0), (None, False, 0)])
def test_labels_that_the_metric_needs(metric: str | None, labelled: bool, count: int) -> None:
    samples = varied(3)
    named = found((samples, np.array([0, 1, 2])) if labelled else samples, metric)
    assert len(named) == count
    assert all("top1 needs labels" in doubt and "agreement" in doubt for doubt in named)
