"""Distributions: quantiles and linear histograms against the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.calibration import Record
from pruna_ir.calibration.distribution import Distribution

SHAPES = {
    "normal": lambda g: g.standard_normal(20_000),
    "shifted": lambda g: g.standard_normal(20_000) + 30,
    "relu": lambda g: np.maximum(g.standard_normal(20_000), 0),
    "lognormal": lambda g: -g.lognormal(0, 2, 20_000),
}


@pytest.fixture(params=SHAPES)
def values(request: pytest.FixtureRequest, generator: np.random.Generator) -> np.ndarray:
    return np.asarray(SHAPES[request.param](generator), np.float32)


def test_quantiles_are_within_a_bucket(values: np.ndarray) -> None:
    distribution = Distribution.of(Record.of(values))
    for fraction in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0):
        exact = np.quantile(values, fraction, method="inverted_cdf")
        assert distribution.quantile(fraction) == pytest.approx(exact, rel=1 / 32, abs=1e-3)
    assert distribution.quantile(0.0) >= distribution.minimum
    assert distribution.quantile(1.0) <= distribution.maximum


def test_totals_and_magnitudes(values: np.ndarray) -> None:
    distribution = Distribution.of(Record.of(values))
    assert distribution.total == values.size
    assert distribution.zero == np.count_nonzero(values == 0)
    magnitudes = distribution.magnitudes
    assert magnitudes.total == values.size
    assert magnitudes.minimum == pytest.approx(np.abs(values).min(), abs=1e-3)
    assert magnitudes.maximum == np.abs(values).max()
    assert magnitudes.quantile(0.9) == pytest.approx(np.quantile(np.abs(values), 0.9), rel=1 / 32)


def test_linear_bins_hold_the_same_weights(values: np.ndarray) -> None:
    magnitudes = Distribution.of(Record.of(values)).magnitudes
    top = magnitudes.quantile(0.99)
    counts, above = magnitudes.linear(50, top)
    exact, _ = np.histogram(np.abs(values[values != 0]), bins=50, range=(0, top))
    assert counts.sum() + above == pytest.approx(np.count_nonzero(values))
    assert np.abs(counts - exact).sum() <= 0.15 * values.size
    assert magnitudes.linear(50, magnitudes.maximum)[1] == 0


def test_coarser_keeps_weights_and_signs(values: np.ndarray) -> None:
    distribution = Distribution.of(Record.of(values))
    coarse = distribution.coarser(8)
    assert len(coarse.weight) < len(distribution.weight) / 4
    assert coarse.total == pytest.approx(distribution.total)
    assert ((coarse.high <= 0) | (coarse.low >= 0)).all()


def test_a_stride_does_not_lose_the_extremes(generator: np.random.Generator) -> None:
    from pruna_ir.calibration.accumulator import Accumulator

    values = generator.standard_normal(100_000, np.float32)
    values[12345] = 77
    accumulator = Accumulator(target=1000)
    accumulator.add(values)
    distribution = Distribution.of(accumulator.record())
    assert distribution.high[-1] == 77
    assert distribution.weight[-1] == 1.0
    assert distribution.total == pytest.approx(values.size, rel=0.01)


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, np.nan), np.zeros(0)])
def test_nothing_to_see(values: np.ndarray) -> None:
    distribution = Distribution.of(Record.of(values.astype(np.float32)))
    assert len(distribution.weight) == 0
    assert distribution.quantile(0.5) == 0
    assert (distribution.minimum, distribution.maximum) == (0, 0)
