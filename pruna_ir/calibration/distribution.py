"""The distribution of a tensor's values as its statistics describe it: what range methods work on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pruna_ir.calibration.histogram import COARSE, FINE, Buckets
from pruna_ir.calibration.record import Record


@dataclass(frozen=True)
class Distribution:
    """Weights of intervals in ascending order, within each of which values are taken to be spread evenly.

    `low`, `high` and `weight` have shape (intervals,). Values that are exactly zero (`zero` of them) are kept apart:
    every range represents them without error. `minimum` and `maximum` are those of all values.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    zero: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, record: Record) -> Distribution:
        """The distribution over a whole tensor."""
        return cls._from_counts(record.histogram, FINE, record.minimum, record.maximum, record.stride)

    @classmethod
    def of_channels(cls, record: Record) -> list[Distribution]:
        """One distribution a channel; the record must have channels."""
        channels = record.channels
        assert channels is not None
        rows = zip(channels.histogram, channels.minimum.tolist(), channels.maximum.tolist(), strict=True)
        return [cls._from_counts(counts, COARSE, minimum, maximum, 1.0) for counts, minimum, maximum in rows]

    @classmethod
    def _from_counts(
        cls, counts: np.ndarray, buckets: Buckets, minimum: float, maximum: float, stride: float
    ) -> Distribution:
        if minimum > maximum:
            minimum = maximum = 0.0
        weight = counts * stride
        extremes = buckets.index(np.array([minimum, maximum], np.float32))
        weight[extremes] = np.maximum(weight[extremes], 1.0)  # a stride can miss them, but they did occur
        order = buckets.ascending
        low, high = (bound[order] for bound in buckets.bounds)
        weight = weight[order]
        is_zero = (low == 0) | (high == 0)
        used = (weight > 0) & ~is_zero
        bounds = [np.clip(bound[used], minimum, maximum) for bound in (low, high)]
        return cls(bounds[0], bounds[1], weight[used], float(weight[is_zero].sum()), minimum, maximum)

    @property
    def total(self) -> float:
        """Number of values, zeros included."""
        return float(self.weight.sum() + self.zero)

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(-self.minimum, self.maximum)

    @cached_property
    def magnitudes(self) -> Distribution:
        """The distribution of the absolute values."""
        negative = self.high <= 0
        low = np.concatenate([-self.high[negative], self.low[~negative]])
        high = np.concatenate([-self.low[negative], self.high[~negative]])
        weight = np.concatenate([self.weight[negative], self.weight[~negative]])
        order = np.argsort(low, kind="stable")
        low, high, weight = low[order], np.maximum.accumulate(high[order]), weight[order]
        # the same bucket of either sign: one interval
        starts = np.flatnonzero(np.append(True, low[1:] >= high[:-1])[: len(low)])
        ends = np.append(starts[1:], len(low))[: len(starts)] - 1
        if len(starts):
            weight = np.add.reduceat(weight, starts)
        smallest = 0.0 if self.minimum <= 0 <= self.maximum else min(abs(self.minimum), abs(self.maximum))
        return Distribution(low[starts], high[ends], weight, self.zero, smallest, self.largest)

    def coarser(self, factor: int) -> Distribution:
        """The same distribution in fewer intervals: up to `factor` neighbours of one sign become one."""
        groups: list[np.ndarray] = []
        for side in (np.flatnonzero(self.high <= 0), np.flatnonzero(self.high > 0)):
            groups += [side[start : start + factor] for start in range(0, len(side), factor)]
        if not groups:
            return self
        low = np.array([self.low[group[0]] for group in groups])
        high = np.array([self.high[group[-1]] for group in groups])
        weight = np.array([self.weight[group].sum() for group in groups])
        return Distribution(low, high, weight, self.zero, self.minimum, self.maximum)

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` (0 to 1) of all values lie."""
        negative = int(np.count_nonzero(self.high <= 0))
        low, high, weight = (
            np.insert(values, negative, value)
            for values, value in ((self.low, 0.0), (self.high, 0.0), (self.weight, self.zero))
        )
        below = np.concatenate([[0.0], np.cumsum(weight)])
        wanted = fraction * below[-1]
        at = int(np.clip(np.searchsorted(below, wanted, side="right") - 1, 0, len(weight) - 1))
        inside = (wanted - below[at]) / weight[at] if weight[at] else 0.0
        value = low[at] + min(inside, 1.0) * (high[at] - low[at])
        return float(np.clip(value, self.minimum, self.maximum))

    def linear(self, bins: int, top: float) -> tuple[np.ndarray, float]:
        """Weights in `bins` equal bins over 0..top, zeros left out, and the weight above `top`. Non-negative only."""
        if not len(self.weight):
            return np.zeros(bins), 0.0
        edges = np.linspace(0.0, top, bins + 1)
        points = np.stack([self.low, np.maximum(self.high, np.nextafter(self.low, np.inf))], axis=1)
        ends = np.cumsum(self.weight)
        cumulative = np.stack([ends - self.weight, ends], axis=1)
        below = np.interp(edges, points.reshape(-1), cumulative.reshape(-1), left=0.0)
        if top >= self.maximum:
            below[-1] = ends[-1]
        return np.diff(below), float(max(ends[-1] - below[-1], 0.0))
