"""Error curves: what it costs in accuracy to leave a group so many units, and which numbers of them are allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """The choices of one group: `widths` ascending, the last of them all units, and the error that each makes."""

    name: str
    widths: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, name: str, errors: Sequence[float] | np.ndarray, widths: np.ndarray, scale: float = 1.0) -> Curve:
        """From `errors` by the number of removed units, the first of which is 0; where noise lets them fall, they stay.

        An error that is not known for so many removed units continues as the last known one.
        """
        rising = np.maximum.accumulate(np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf, posinf=np.inf))
        removed = np.minimum(widths[-1] - widths, len(rising) - 1)
        return cls(name, widths, scale * rising[removed])

    @property
    def full(self) -> int:
        """All units."""
        return int(self.widths[-1])

    def up_to(self, width: int) -> Curve:
        """The curve without the choices above `width`, which is one of them."""
        fits = self.widths <= width
        return Curve(self.name, self.widths[fits], self.errors[fits])


def allowed_widths(size: int, channels: int, round_to: int, least: int) -> np.ndarray:
    """The numbers of units that a group may keep, ascending; always all of them, if only they.

    A unit is `channels` channels of a weight, and the kept channels are a multiple of `round_to` and at least `least`.
    """
    step = round_to // math.gcd(round_to, channels)
    lowest = max(1, -(-least // channels))
    kept = np.arange(step, size, step)
    return np.append(kept[kept >= lowest], size)


def nearest(widths: np.ndarray, wanted: float) -> int:
    """The allowed width that is nearest to what is wanted; of two the larger."""
    return int(widths[::-1][np.argmin(np.abs(widths[::-1] - wanted))])
