"""How far a tensor is from what it should be, added up over batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Distance:
    """Energies of what is wanted, of what was found and of the difference, and the product of the two.

    Equal values are no difference, infinite or NaN as they may be: masks hold -inf.
    """

    signal: float = 0.0
    found: float = 0.0
    noise: float = 0.0
    product: float = 0.0

    def add(self, wanted: np.ndarray, found: np.ndarray) -> None:
        """Add a batch; another shape, or values that only one of the two has no number for, are infinitely far."""
        if found.shape != wanted.shape:
            self.noise = math.inf
            return
        wanted, found = wanted.astype(np.float64).reshape(-1), found.astype(np.float64).reshape(-1)
        both = np.isfinite(wanted) & np.isfinite(found)
        if not both.all():
            left, right = wanted[~both], found[~both]
            if not ((left == right) | (np.isnan(left) & np.isnan(right))).all():
                self.noise = math.inf
            wanted, found = wanted[both], found[both]
        self.signal += _dot(wanted, wanted)
        self.found += _dot(found, found)
        self.product += _dot(wanted, found)
        gap = found - wanted
        self.noise += _dot(gap, gap)

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, in dB: infinite for equal tensors, minus infinity for noise without signal."""
        if self.noise == 0.0:
            return math.inf
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if ratio > 0 else -math.inf

    @property
    def cosine(self) -> float:
        """The cosine of the angle between the two; 1 where both are zero, 0 where one is."""
        length = math.sqrt(self.signal * self.found)
        if length == 0.0:
            return float(self.signal == self.found)
        return max(-1.0, min(1.0, self.product / length))


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    """The product of two vectors. Not by `@`: its threads wait for each other for longer than the product takes."""
    return float(np.einsum("i,i->", one, other))
