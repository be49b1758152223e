"""Adding arrays to the statistics of a tensor, one batch after the other."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from pruna_ir.calibration.histogram import COARSE, FINE
from pruna_ir.calibration.record import Channels, Record

# Neighbouring values that are sampled together: a cache line of float32, which costs as much to read as one of them.
LINE = 16
# How many bucket numbers wait before they are counted: counting touches every bucket, however few values there are.
_PENDING = 1 << 16


class Accumulator:
    """Statistics of one tensor that grow by a batch at a time.

    The minimum and maximum see every value; the histogram sees about `target` values of each sample, spread evenly.
    With `axis`, every index along it gets its own statistics too.
    """

    def __init__(self, *, target: int, axis: int | None = None) -> None:
        self._target = target
        self._axis = axis
        self._minimum = np.inf
        self._maximum = -np.inf
        self._count = self._nan = self._infinite = 0
        self._histogram = np.zeros(FINE.size, np.int64)
        self._pending: list[np.ndarray] = []
        self._waiting = 0
        self._channels: Channels | None = None

    def add(self, values: np.ndarray, phase: int = 0, samples: int = 1) -> None:
        """Count an array of floats that holds `samples` samples; `phase` shifts which of its values are taken."""
        if values.size == 0:
            return
        if values.dtype != np.float32:
            with np.errstate(over="ignore"):  # float64 beyond float32 counts as infinite
                values = values.astype(np.float32)
        flat = np.ascontiguousarray(values).reshape(-1)
        self._add_range(float(flat.min()), float(flat.max()), flat)
        indices = FINE.index(sample(flat, self._target * samples, phase))
        self._pending.append(indices)
        self._waiting += indices.size
        if self._waiting >= _PENDING:
            self._flush()
        if self._axis is not None:
            self._add_channels(values)

    def _add_range(self, low: float, high: float, flat: np.ndarray) -> None:
        """Count `flat`, whose extremes are known; only if they are not finite are the values looked at again."""
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = flat[np.isfinite(flat)]
            nan = int(np.isnan(flat).sum())
            self._nan += nan
            self._infinite += flat.size - finite.size - nan
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)
        self._count += flat.size
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)

    def record(self) -> Record:
        """The statistics so far."""
        self._flush()
        histogram = np.where(FINE.finite, self._histogram, 0)
        counts = (self._count, self._nan, self._infinite)
        return Record(float(self._minimum), float(self._maximum), *counts, histogram, self._channels)

    def _flush(self) -> None:
        if self._pending:
            self._histogram += FINE.count(np.concatenate(self._pending))
            self._pending, self._waiting = [], 0

    def _add_channels(self, values: np.ndarray) -> None:
        assert self._axis is not None
        rows = np.moveaxis(values, self._axis, 0).reshape(values.shape[self._axis], -1)
        finite = np.isfinite(rows)
        size = COARSE.size
        numbers = COARSE.index(rows) + np.arange(len(rows), dtype=np.int64)[:, None] * size
        counts = np.bincount(numbers.reshape(-1), minlength=len(rows) * size).reshape(-1, size)
        added = Channels(
            self._axis,
            np.where(finite, rows, np.inf).min(axis=1),
            np.where(finite, rows, -np.inf).max(axis=1),
            np.where(COARSE.finite, counts, 0),
        )
        self._channels = added if self._channels is None else self._channels.merge(added)


def sample(flat: np.ndarray, target: int, phase: int = 0) -> np.ndarray:
    """About `target` values of a one-dimensional array, or all of them if there are hardly more.

    Lines of neighbouring values are taken at a fixed distance, which has no common divisor with the number of lines
    and so never falls into step with rows or channels; `phase` selects the first line.
    """
    lines, distance = _spacing(flat.size, target)
    if distance < 2:
        return flat
    rows = flat[: lines * LINE].reshape(lines, LINE)
    return rows[phase % distance :: distance].reshape(-1)


@lru_cache(maxsize=4096)
def _spacing(size: int, target: int) -> tuple[int, int]:
    """How many lines an array of `size` values has, and the distance between those that are sampled."""
    lines = size // LINE
    distance = lines * LINE // max(target, 1)
    while distance > 1 and math.gcd(distance, lines) > 1:
        distance += 1
    return lines, distance
