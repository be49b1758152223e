"""The mean squared error that is minimized is the one that quantizing really has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pruna_ir.calibration import Range, Record, Scheme, solve
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.mse import expected_error

SIZE = 8000
SHAPES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda g: g.standard_normal(SIZE),
    "outlier": lambda g: np.append(g.standard_normal(SIZE), 50),
    "uniform": lambda g: g.uniform(-1, 3, SIZE),
    "relu": lambda g: np.maximum(g.standard_normal(SIZE), 0),
    "laplace": lambda g: g.laplace(size=SIZE),
    "lognormal": lambda g: g.lognormal(0, 2, SIZE),
    "student": lambda g: g.standard_t(2, SIZE),
    "shifted": lambda g: g.standard_normal(SIZE) + 20,
    "negative": lambda g: -np.abs(g.standard_normal(SIZE)),
    "silu": lambda g: (lambda z: z / (1 + np.exp(-z)))(5 * g.standard_normal(SIZE)),
}
SCHEMES = {
    "uint8": Scheme(np.dtype(np.uint8)),
    "int8": Scheme(np.dtype(np.int8)),
    "symmetric": Scheme(np.dtype(np.int8), symmetric=True),
    "uint8-symmetric": Scheme(np.dtype(np.uint8), symmetric=True),
}


def measured(values: np.ndarray, scheme: Scheme, interval: Range) -> float:
    params = scheme.quantization(interval)
    back = scheme.dequantize(scheme.quantize(values, params), params)
    return float(np.mean((back.astype(np.float64) - values) ** 2))


def grid(values: np.ndarray, scheme: Scheme) -> list[Range]:
    fractions = np.unique(np.concatenate([np.linspace(0.04, 1, 25), 2.0 ** -np.linspace(0, 8, 17)]))
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if scheme.symmetric:
        return [Range(-fraction * max(-low, high), fraction * max(-low, high)) for fraction in fractions]
    lows = fractions if low < 0 else fractions[-1:]
    highs = fractions if high > 0 else fractions[-1:]
    return [Range(float(low * first), float(high * second)) for first in lows for second in highs]


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_most_two_per_cent_above_the_best_of_a_grid(
    generator: np.random.Generator, shape: str, scheme: Scheme
) -> None:
    values = SHAPES[shape](generator).astype(np.float32)
    chosen = measured(values, scheme, solve(Record.of(values), scheme, "mse"))
    best = min(measured(values, scheme, candidate) for candidate in grid(values, scheme))
    assert chosen <= 1.02 * best


@pytest.mark.parametrize("shape", SHAPES)
def test_the_expected_error_is_the_measured_one(generator: np.random.Generator, shape: str) -> None:
    values = SHAPES[shape](generator).astype(np.float32)
    scheme = SCHEMES["uint8"]
    candidates = grid(values, scheme)[::23]
    lows = np.array([candidate.minimum for candidate in candidates])
    highs = np.array([candidate.maximum for candidate in candidates])
    expected = expected_error(Distribution.of(Record.of(values)), scheme, lows, highs)
    exact = [measured(values, scheme, candidate) for candidate in candidates]
    np.testing.assert_allclose(expected, exact, rtol=0.1)


def test_outliers_are_clipped_when_that_is_cheaper(normal_with_outlier: np.ndarray) -> None:
    for scheme in SCHEMES.values():
        record = Record.of(normal_with_outlier)
        best = solve(record, scheme, "mse")
        assert 5 < best.maximum < 45
        assert measured(normal_with_outlier, scheme, best) < 0.8 * measured(
            normal_with_outlier, scheme, solve(record, scheme, "minmax")
        )


def test_uniform_values_keep_their_range(generator: np.random.Generator) -> None:
    best = solve(Record.of(generator.uniform(-1, 3, SIZE).astype(np.float32)), SCHEMES["uint8"], "mse")
    assert [best.minimum, best.maximum] == pytest.approx([-1, 3], abs=0.02)
