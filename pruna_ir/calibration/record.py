"""What calibration knows about one tensor: records that add up, in any order and grouping."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pruna_ir.calibration.histogram import FINE


@dataclass(frozen=True, eq=False)
class Channels:
    """Per-channel statistics: `minimum` and `maximum` of shape (channels,), `histogram` (channels, COARSE.size).

    A channel without a finite value has the minimum +inf and the maximum -inf.
    """

    axis: int
    minimum: np.ndarray
    maximum: np.ndarray
    histogram: np.ndarray

    def merge(self, other: Channels) -> Channels:
        """The statistics of both sets of values; the number of channels must agree."""
        return Channels(
            self.axis,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.histogram + other.histogram,
        )

    def fits(self, other: Channels) -> bool:
        """Whether the two describe the same channels."""
        return self.axis == other.axis and self.minimum.shape == other.minimum.shape

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Channels)
            and self.fits(other)
            and np.array_equal(self.minimum, other.minimum)
            and np.array_equal(self.maximum, other.maximum)
            and np.array_equal(self.histogram, other.histogram)
        )


@dataclass(frozen=True, eq=False)
class Record:
    """Statistics of one tensor over all samples.

    `minimum` and `maximum` are those of every finite value (+inf and -inf if there was none). `count` values were
    seen, of which `nan` and `infinite` were not finite. `histogram` (int64, FINE.size) counts the finite ones among
    the values that were sampled. `fingerprint` says what computed the tensor. `constant` says that the model holds the
    values itself: seen again they are the same ones, and count once.
    """

    minimum: float
    maximum: float
    count: int
    nan: int
    infinite: int
    histogram: np.ndarray
    channels: Channels | None = None
    fingerprint: str = ""
    constant: bool = False

    @classmethod
    def empty(cls, fingerprint: str = "") -> Record:
        """The record of no values: merging with it changes nothing."""
        return cls(np.inf, -np.inf, 0, 0, 0, np.zeros(FINE.size, np.int64), None, fingerprint)

    @classmethod
    def of(cls, values: np.ndarray, *, axis: int | None = None, fingerprint: str = "") -> Record:
        """The record of an array, with every value in the histogram."""
        from pruna_ir.calibration.accumulator import Accumulator

        accumulator = Accumulator(axis=axis, target=values.size)
        accumulator.add(values)
        return replace(accumulator.record(), fingerprint=fingerprint)

    @property
    def sampled(self) -> int:
        """How many values the histogram holds."""
        return int(self.histogram.sum())

    @property
    def stride(self) -> float:
        """One in how many finite values went into the histogram, on average; 1.0 if all did."""
        finite = self.count - self.nan - self.infinite
        return finite / self.sampled if self.sampled else 1.0

    def merge(self, other: Record) -> Record:
        """The record of both sets of values. Per-channel statistics survive if both have them, or one is empty."""
        if self.constant and other.constant:
            return self if self.channels is not None else other
        return Record(
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.count + other.count,
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.histogram + other.histogram,
            self._merge_channels(other),
            self.fingerprint or other.fingerprint,
        )

    def _merge_channels(self, other: Record) -> Channels | None:
        if self.count == 0 or other.count == 0:
            return self.channels or other.channels
        if self.channels is None or other.channels is None or not self.channels.fits(other.channels):
            return None
        return self.channels.merge(other.channels)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Record)
            and (self.minimum, self.maximum, self.count) == (other.minimum, other.maximum, other.count)
            and (self.nan, self.infinite, self.fingerprint) == (other.nan, other.infinite, other.fingerprint)
            and np.array_equal(self.histogram, other.histogram)
            and (self.channels, self.constant) == (other.channels, other.constant)
        )
