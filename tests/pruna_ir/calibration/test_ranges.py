"""Range methods by name: zero inside, never empty, within what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pruna_ir.calibration import METHODS, Record, Scheme, solve
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.mse import Function, expected_error
from pruna_ir.diagnostics import PrunaError

UNSIGNED = Scheme(np.dtype(np.uint8))
SYMMETRIC = Scheme(np.dtype(np.int8), symmetric=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", [UNSIGNED, SYMMETRIC], ids=["unsigned", "symmetric"])
@settings(max_examples=25)
@given(values=arrays.arrays(np.float32, st.integers(0, 30), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_every_range_is_usable(method: str, scheme: Scheme, values: np.ndarray) -> None:
    interval = solve(Record.of(values), scheme, method)
    assert interval.minimum <= 0 <= interval.maximum
    assert interval.minimum < interval.maximum
    scale = scheme.quantization(interval).scale
    assert np.isfinite(scale)
    assert scale > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 3.0, -0.25])
def test_a_constant_is_represented(method: str, value: float) -> None:
    values = np.full(100, value, np.float32)
    for scheme in (UNSIGNED, SYMMETRIC):
        params = scheme.quantization(solve(Record.of(values), scheme, method))
        back = scheme.dequantize(scheme.quantize(values, params), params)
        np.testing.assert_allclose(back, values, rtol=0.01)


def test_minmax_is_exact(generator: np.random.Generator) -> None:
    values = generator.standard_normal(1000, np.float32)
    interval = solve(Record.of(values), UNSIGNED)
    assert (interval.minimum, interval.maximum) == (values.min(), values.max())


@pytest.mark.parametrize(("method", "percent"), [("percentile", 99.99), ("percentile99", 99), ("percentile99.9", 99.9)])
def test_percentiles_cut_both_ends(generator: np.random.Generator, method: str, percent: float) -> None:
    values = generator.standard_normal(500_000, np.float32)
    record = Record.of(values)
    interval = solve(record, UNSIGNED, method)
    cut = (100 - percent) / 2
    low, high = np.percentile(values, [cut, 100 - cut])
    assert interval.minimum == pytest.approx(low, rel=1 / 32)
    assert interval.maximum == pytest.approx(high, rel=1 / 32)
    symmetric = solve(record, SYMMETRIC, method)
    assert symmetric.maximum == -symmetric.minimum
    assert symmetric.maximum == pytest.approx(np.percentile(np.abs(values), percent), rel=1 / 32)


def test_percentile_100_is_minmax(generator: np.random.Generator) -> None:
    record = Record.of(generator.standard_normal(1000, np.float32))
    assert solve(record, UNSIGNED, "percentile100") == solve(record, UNSIGNED, "minmax")


def test_every_method_but_minmax_clips_an_outlier(normal_with_outlier: np.ndarray) -> None:
    record = Record.of(normal_with_outlier)
    assert solve(record, UNSIGNED, "minmax").maximum == 50
    for method in ("percentile", "mse", "entropy", "auto"):
        assert solve(record, UNSIGNED, method).maximum < 45


@pytest.mark.parametrize("method", METHODS)
def test_channels_have_ranges_of_their_own(generator: np.random.Generator, method: str) -> None:
    values = generator.standard_normal((50, 3, 40), np.float32) * np.array([1, 100, 0], np.float32)[:, None]
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=1)
    interval = solve(Record.of(values, axis=1), scheme, method)
    assert isinstance(interval.maximum, np.ndarray)
    assert interval.maximum.shape == (3,)
    assert 50 < interval.maximum[1] / interval.maximum[0] < 200
    assert scheme.quantization(interval).scale.shape == (3,)


def test_channels_that_were_not_collected() -> None:
    with pytest.raises(PrunaError) as failure:
        solve(Record.of(np.ones((2, 2), np.float32)), Scheme(np.dtype(np.int8), axis=1))
    assert failure.value.diagnostic.code == "S001"


@pytest.mark.parametrize(
    ("method", "said"), [("mean", "range method"), ("entrop", "`entropy`"), ("percentile10", "above 50"), ("", "known")]
)
def test_unknown_methods(method: str, said: str) -> None:
    with pytest.raises(PrunaError) as failure:
        solve(Record.of(np.ones(3, np.float32)), UNSIGNED, method)
    assert failure.value.diagnostic.code == "P004"
    assert said in str(failure.value)


@pytest.mark.parametrize("scheme", [UNSIGNED, SYMMETRIC], ids=["unsigned", "symmetric"])
@pytest.mark.parametrize("behind", [None, np.tanh], ids=["plain", "behind"])
def test_auto_is_never_worse_than_any_other(
    generator: np.random.Generator, normal_with_outlier: np.ndarray, scheme: Scheme, behind: Function | None
) -> None:
    for values in (normal_with_outlier, generator.lognormal(0, 2, 5000), generator.uniform(-1, 3, 5000)):
        record = Record.of(values)
        ranges = [solve(record, scheme, method, behind) for method in (*METHODS, "percentile99.9")]
        lows, highs = (
            [float(end) for end in ends] for ends in zip(*((r.minimum, r.maximum) for r in ranges), strict=True)
        )
        errors = expected_error(Distribution.of(record), scheme, np.array(lows), np.array(highs), behind)
        assert errors[METHODS.index("auto")] <= errors.min() * (1 + 1e-9)
