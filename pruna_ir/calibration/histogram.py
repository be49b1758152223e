"""Histograms over float-bit buckets: exact to merge, of fixed size, right for any range without knowing it first.

A value's bucket is the leading bits of its float32 pattern: sign, exponent and the first few bits of the mantissa.
Buckets therefore grow with the value (with 5 mantissa bits each is 1/32 of a power of two wide, so a quantile is known
to 3.1 %), and two histograms merge by addition, whatever the order. The idea is DDSketch's (Masson et al., VLDB 2019)
with the float's own bits as the logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_EXPONENT_BITS = 8
_MANTISSA_BITS = 23


@dataclass(frozen=True)
class Buckets:
    """The buckets of all float32 values, numbered by their leading bits.

    The lower half of the numbers holds the positive values, ascending; the upper half the negative ones, descending.
    """

    mantissa_bits: int

    @property
    def size(self) -> int:
        """How many buckets there are."""
        return 1 << (1 + _EXPONENT_BITS + self.mantissa_bits)

    @property
    def _shift(self) -> int:
        return _MANTISSA_BITS - self.mantissa_bits

    def index(self, values: np.ndarray) -> np.ndarray:
        """Bucket numbers (uint16) of float values of any shape, in the same shape."""
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        return (bits >> np.uint32(self._shift)).astype(np.uint16)

    def count(self, indices: np.ndarray) -> np.ndarray:
        """How often each bucket occurs in `indices`: int64 of shape (size,)."""
        return np.bincount(indices.reshape(-1), minlength=self.size)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of each bucket as float64; NaN in the buckets of infinities and NaNs."""
        patterns = np.arange(self.size // 2, dtype=np.uint32) << np.uint32(self._shift)
        finite = self.finite[: self.size // 2]
        inner = np.where(finite, patterns, np.uint32(0)).view(np.float32).astype(np.float64)
        outer = np.append(inner[1:], 0.0)
        last = np.count_nonzero(finite) - 1
        outer[last] = np.finfo(np.float32).max
        inner[last + 1 :] = outer[last + 1 :] = np.nan
        return np.concatenate([inner, -outer]), np.concatenate([outer, -inner])

    @cached_property
    def finite(self) -> np.ndarray:
        """Which buckets hold finite values: bool of shape (size,)."""
        exponent = (np.arange(self.size) >> self.mantissa_bits) & ((1 << _EXPONENT_BITS) - 1)
        return np.asarray(exponent != (1 << _EXPONENT_BITS) - 1)

    @cached_property
    def ascending(self) -> np.ndarray:
        """The finite buckets' numbers in the order of their values."""
        numbers = np.arange(self.size)[self.finite]
        half = self.size // 2
        return np.concatenate([numbers[numbers >= half][::-1], numbers[numbers < half]])


FINE = Buckets(5)
COARSE = Buckets(2)
