"""Labels of indices: one for each index of each axis, and what is said of them.

Two labels that are equated go together: to cut one index is to cut the other. Labels that are protected stay, and so
does everything that goes together with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.remarks import Reason

# The labels of an axis, int64, one an index; None for an axis that is never cut and so has none (symbolic, of size 1,
# or spatial). A label may stand on an axis several times: cutting it cuts all of them.
Labels = np.ndarray | None


@dataclass(frozen=True)
class Components:
    """What labels amount to: `unit` [labels] numbers the sets of labels that go together, in order of first use.

    `reason` [units] indexes `reasons`, why a unit is protected; it is `len(reasons)` for units that are free.
    """

    unit: np.ndarray
    reason: np.ndarray
    reasons: tuple[Reason | str, ...]


class LabelTable:
    """Hands out labels, and collects what is said of them."""

    def __init__(self) -> None:
        self._parents = np.empty(0, np.int64)
        self._count = 0
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._protected: list[tuple[np.ndarray, int]] = []
        self._reasons: list[Reason | str] = []

    def fresh(self, size: int) -> np.ndarray:
        """Labels [size] that are on no other axis."""
        self._count += size
        return np.arange(self._count - size, self._count)

    def equate(self, first: np.ndarray, second: np.ndarray) -> None:
        """Labels of the same place in two arrays, which broadcast, go together."""
        if first is not second:
            first, second = np.broadcast_arrays(first, second)
            self._pairs.append((first.ravel(), second.ravel()))

    def protect(self, labels: np.ndarray, reason: Reason | str) -> None:
        """Labels stay. Of several reasons for one unit the first is kept."""
        if labels.size:
            self._protected.append((labels.ravel(), len(self._reasons)))
            self._reasons.append(reason)

    def is_protected(self, labels: np.ndarray) -> np.ndarray:
        """Which labels are protected by what has been said so far, booleans of the same shape."""
        parents = self._solve()
        flags = np.zeros(self._count, bool)
        for protected, _ in self._protected:
            flags[parents[protected]] = True
        return np.asarray(flags[parents[labels]])

    def components(self) -> Components:
        """The units, with the first reason of each that is protected."""
        roots, unit = np.unique(self._solve(), return_inverse=True)
        reason = np.full(len(roots), len(self._reasons))
        for protected, number in reversed(self._protected):
            reason[unit[protected]] = number
        return Components(unit, reason, tuple(self._reasons))

    def _solve(self) -> np.ndarray:
        """The smallest label of each label's unit: min-label hooking of roots with path halving (Shiloach, Vishkin)."""
        fresh = np.arange(len(self._parents), self._count)
        parents = np.concatenate([self._parents, fresh])
        if self._pairs:
            first = np.concatenate([pair[0] for pair in self._pairs])
            second = np.concatenate([pair[1] for pair in self._pairs])
            while True:
                first, second = parents[first], parents[second]
                apart = first != second
                if not apart.any():
                    break
                first, second = first[apart], second[apart]
                np.minimum.at(parents, np.maximum(first, second), np.minimum(first, second))
                while True:
                    shorter = parents[parents]
                    if (shorter == parents).all():
                        break
                    parents = shorter
        self._parents, self._pairs = parents, []
        return parents
