"""What a criterion sees of a group: the slices of weights that its units hold, without a graph around them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Slices:
    """The parts of one weight that units of a group hold.

    `values` [rows, elements] has a row for each index of the axis that belongs to a unit, `units` [rows] says to which.
    `reads` [units] is the root mean square of what the weight multiplies, for a weight that contracts over the group,
    if it was measured.
    """

    values: np.ndarray
    units: np.ndarray
    reads: np.ndarray | None = None

    def per_unit(self, of_rows: np.ndarray, size: int) -> np.ndarray:
        """Sums [size] over the rows of each unit."""
        return np.bincount(self.units, weights=np.asarray(of_rows, np.float64), minlength=size)


@dataclass(frozen=True)
class GroupWeights:
    """A group of `size` units: weights that write them, weights that read them, and scales of normalizations."""

    name: str
    size: int
    producers: tuple[Slices, ...] = ()
    consumers: tuple[Slices, ...] = ()
    scales: tuple[Slices, ...] = ()
    seed: int = field(default=0, compare=False)
