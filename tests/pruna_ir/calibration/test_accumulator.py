"""Accumulating batches: exact extremes and counts, and samples that are spread evenly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pruna_ir.calibration.accumulator import LINE, Accumulator, sample
from pruna_ir.calibration.histogram import COARSE, FINE
from pruna_ir.calibration.record import Record


def test_extremes_see_every_value(generator: np.random.Generator) -> None:
    accumulator = Accumulator(target=64)
    values = generator.standard_normal((20, 16, 50, 50), np.float32)
    values[13, 7, 21, 3] = 1000
    for batch, part in enumerate(values):
        accumulator.add(part, batch)
    record = accumulator.record()
    assert (record.minimum, record.maximum) == (values.min(), 1000)
    assert record.count == values.size
    assert record.stride == pytest.approx(values.size / record.sampled)
    assert 20 * 48 <= record.sampled <= 20 * 80


def test_nothing_is_strided_below_the_target(generator: np.random.Generator) -> None:
    values = generator.standard_normal((3, 333), np.float32)
    record = Record.of(values)
    np.testing.assert_array_equal(record.histogram, FINE.count(FINE.index(values)))
    assert record.stride == 1.0


def test_nan_and_infinities_are_counted_apart() -> None:
    record = Record.of(np.array([1.0, np.nan, -np.inf, np.inf, np.nan, -2.0], np.float32))
    assert (record.minimum, record.maximum) == (-2.0, 1.0)
    assert (record.count, record.nan, record.infinite) == (6, 2, 2)
    assert record.sampled == 2
    nothing = Record.of(np.full(3, np.nan, np.float32))
    assert (nothing.minimum, nothing.maximum, nothing.nan) == (np.inf, -np.inf, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_read_as_float32(dtype: type) -> None:
    record = Record.of(np.array([[0.5, -3.0]], dtype).T)
    assert (record.minimum, record.maximum, record.count) == (-3.0, 0.5, 2)
    assert Record.of(np.array([1e300, 1.0])).infinite == 1


def test_an_empty_array_changes_nothing() -> None:
    assert Record.of(np.zeros((0, 4), np.float32)) == Record.empty()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_have_statistics_of_their_own(generator: np.random.Generator, axis: int) -> None:
    accumulator = Accumulator(target=16, axis=axis)
    values = generator.standard_normal((2, 4, 5, 6), np.float32)
    values[0, 1, 2, 3] = np.nan
    for part in values:
        accumulator.add(part)
    channels = accumulator.record().channels
    assert channels is not None
    rows = np.moveaxis(values, axis + 1, 0).reshape(values.shape[axis + 1], -1)
    np.testing.assert_array_equal(channels.minimum, np.nanmin(rows, axis=1))
    np.testing.assert_array_equal(channels.maximum, np.nanmax(rows, axis=1))
    for row, counts in zip(rows, channels.histogram, strict=True):
        np.testing.assert_array_equal(counts, COARSE.count(COARSE.index(row[~np.isnan(row)])))


def test_samples_come_from_every_channel() -> None:
    channels, row = 96, 112 * 112
    flat = np.repeat(np.arange(channels, dtype=np.float32), row)
    taken, counts = np.unique(sample(flat, 4096), return_counts=True)
    assert len(taken) == channels
    assert counts.max() <= 2 * counts.min() + LINE


def test_samples_of_rows_do_not_fall_into_step() -> None:
    rows, width = 512, 768
    column = np.tile(np.arange(width), rows)
    assert len(np.unique(sample(column, 8192))) == width


def test_batches_take_different_values() -> None:
    flat = np.arange(100_000)
    seen = [set(sample(flat, 1024, batch).tolist()) for batch in range(50)]
    assert len(set.union(*seen)) > 40 * 1024
    assert math.isclose(len(seen[0]), 1024, rel_tol=0.1)
