"""The entropy method against a literal transcription of TensorRT's description."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.calibration import Record, Scheme, solve
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.entropy import threshold

SYMMETRIC = Scheme(np.dtype(np.int8), symmetric=True)
UNSIGNED = Scheme(np.dtype(np.uint8))


def literal(values: np.ndarray, levels: int, bins: int, step: int) -> float:
    """Migacz' slides, one bin at a time: reference P, candidate Q, divergence, for every threshold."""
    top = float(np.abs(values).max())
    counts, _ = np.histogram(np.abs(values), bins=bins, range=(0, top))
    best, best_end = np.inf, bins
    for end in range(levels, bins + 1, step):
        reference = [float(count) for count in counts[:end]]
        reference[-1] += float(counts[end:].sum())
        candidate = [0.0] * end
        for level in range(levels):
            start, stop = level * end // levels, (level + 1) * end // levels
            used = [index for index in range(start, stop) if counts[index] > 0]
            for index in used:
                candidate[index] = float(counts[start:stop].sum()) / len(used)
        total_p, total_q = sum(reference), sum(candidate)
        divergence = 0.0
        for p, q in zip(reference, candidate, strict=True):
            if p > 0:
                divergence += p / total_p * np.log(p / total_p / max(q / total_q, 1e-4))
        if divergence < best:
            best, best_end = divergence, end
    return top * best_end / bins


@pytest.mark.parametrize("shape", ["normal", "laplace", "exponential"])
def test_agrees_with_the_description(generator: np.random.Generator, shape: str) -> None:
    values = {
        "normal": generator.standard_normal(200_000),
        "laplace": generator.laplace(size=200_000),
        "exponential": generator.exponential(size=200_000),
    }[shape].astype(np.float32)
    magnitudes = Distribution.of(Record.of(values)).magnitudes
    # buckets of the record are as wide as a few of the bins, so the curves differ a little
    assert threshold(magnitudes, 128) == pytest.approx(literal(values, 128, 2048, 32), rel=0.2)


def test_an_outlier_is_clipped_however_far_away(generator: np.random.Generator) -> None:
    values = generator.standard_normal(200_000, np.float32)
    for outlier in (50, 1e4, 1e6):
        with_outlier = Record.of(np.append(values, np.float32(outlier)))
        for scheme in (SYMMETRIC, UNSIGNED):
            assert 2 < solve(with_outlier, scheme, "entropy").maximum < 6


def test_after_relu_all_levels_are_on_one_side(generator: np.random.Generator) -> None:
    values = np.maximum(generator.standard_normal(200_000, np.float32), 0)
    interval = solve(Record.of(values), UNSIGNED, "entropy")
    assert interval.minimum == 0
    assert 3 < interval.maximum <= values.max()


def test_zeros_do_not_count(generator: np.random.Generator) -> None:
    values = np.abs(generator.standard_normal(100_000, np.float32))
    with_zeros = np.append(values, np.zeros(900_000, np.float32))
    one, other = (solve(Record.of(array), UNSIGNED, "entropy") for array in (values, with_zeros))
    assert one == other


def test_uniform_values_keep_their_range(generator: np.random.Generator) -> None:
    values = generator.uniform(-1, 3, 100_000).astype(np.float32)
    interval = solve(Record.of(values), UNSIGNED, "entropy")
    assert [interval.minimum, interval.maximum] == pytest.approx([-1, 3], abs=0.2)


def test_sixteen_bits_need_no_clipping(generator: np.random.Generator) -> None:
    values = generator.standard_normal(1000, np.float32)
    interval = solve(Record.of(values), Scheme(np.dtype(np.uint16)), "entropy")
    assert (interval.minimum, interval.maximum) == (values.min(), values.max())
