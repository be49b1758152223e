"""The mean squared error that is minimized is the one that quantizing really has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pruna_ir.calibration import Range, Record, Scheme, solve
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.mse import Function, expected_error

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


FUNCTIONS: dict[str, Function] = {
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def measured_behind(values: np.ndarray, scheme: Scheme, interval: Range, behind: Function) -> float:
    params = scheme.quantization(interval)
    back = scheme.dequantize(scheme.quantize(values, params), params).astype(np.float64)
    return float(np.mean((behind(back) - behind(values.astype(np.float64))) ** 2))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("shape", ["normal", "outlier", "laplace", "student", "negative"])
@pytest.mark.parametrize("behind", FUNCTIONS.values(), ids=FUNCTIONS)
def test_behind_a_function_at_most_five_per_cent_above_the_best_of_a_grid(
    generator: np.random.Generator, behind: Function, shape: str, scheme: Scheme
) -> None:
    values = 3 * SHAPES[shape](generator).astype(np.float32)
    record = Record.of(values)
    chosen = measured_behind(values, scheme, solve(record, scheme, "mse", behind), behind)
    best = min(measured_behind(values, scheme, candidate, behind) for candidate in grid(values, scheme))
    assert chosen <= 1.05 * best


@pytest.mark.parametrize("behind", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_error_behind_a_function_is_the_measured_one(generator: np.random.Generator, behind: Function) -> None:
    values = 3 * SHAPES["normal"](generator).astype(np.float32)
    scheme = SCHEMES["uint8"]
    candidates = grid(values, scheme)[::23]
    lows = np.array([candidate.minimum for candidate in candidates])
    highs = np.array([candidate.maximum for candidate in candidates])
    expected = expected_error(Distribution.of(Record.of(values)), scheme, lows, highs, behind)
    exact = [measured_behind(values, scheme, candidate, behind) for candidate in candidates]
    np.testing.assert_allclose(expected, exact, rtol=0.1)


def test_what_a_function_squashes_gets_fewer_integers(generator: np.random.Generator) -> None:
    """SiLU makes nothing of the long negative side: the integers go to the other."""
    values = np.append(generator.standard_normal(SIZE), -20 * generator.random(SIZE // 50)).astype(np.float32)
    record, scheme, silu = Record.of(values), SCHEMES["uint8"], FUNCTIONS["silu"]
    plain, behind = (solve(record, scheme, "mse", function) for function in (None, silu))
    assert behind.minimum > 0.5 * plain.minimum
    errors = [measured_behind(values, scheme, interval, silu) for interval in (plain, behind)]
    assert errors[1] < 0.5 * errors[0]


def test_the_identity_changes_nothing(generator: np.random.Generator) -> None:
    values = SHAPES["laplace"](generator).astype(np.float32)
    scheme = SCHEMES["uint8"]
    plain, behind = (solve(Record.of(values), scheme, "mse", function) for function in (None, lambda x: x))
    assert measured(values, scheme, behind) == pytest.approx(measured(values, scheme, plain), rel=0.02)


def test_peaks_are_looked_at_without_blur(generator: np.random.Generator) -> None:
    """SiLU's outputs pile up just above its minimum, in much less than one of the coarser intervals."""
    values = np.append(np.full(SIZE, -0.2784645), 8 * generator.random(200) ** 8).astype(np.float32)
    scheme = SCHEMES["uint8"]
    chosen = measured(values, scheme, solve(Record.of(values), scheme, "mse"))
    assert chosen <= 1.05 * min(measured(values, scheme, candidate) for candidate in grid(values, scheme))
