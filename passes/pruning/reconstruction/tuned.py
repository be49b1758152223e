"""Least squares with the ridge that does best on rows that were not fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal, solve
from pruna_ir.passes.pruning.reconstruction.reading import Aim, Reading
from pruna_ir.passes.pruning.reconstruction.sites import PARTS

# The ridge grows by this factor as long as that helps; the minimum is flat.
_FACTOR = 3.0
_LARGEST = 100.0


def without_noise(normal: Normal) -> Normal:
    """The same, with nothing but the ridge that is asked for."""
    return replace(normal, noise=np.zeros_like(normal.noise))


def best_ridge(reading: Reading, aim: Aim, prior: np.ndarray, kept: np.ndarray, least: float) -> float:
    """The share, of at least `least`, with the least error of cross-validation.

    With few samples the layer's outputs hold much that the rows explain only by chance; how much, nothing but other
    samples can say.
    """
    normals = [without_noise(reading.normal(aim, part)) for part in range(PARTS)]

    def error(share: float) -> float:
        total = 0.0
        for part, normal in enumerate(normals):
            weights = solve(normal, prior, kept, share)
            total += reading.error(aim, part, weights, normal.bias(weights))
        return total

    share, least_error = least, error(least)
    while share < _LARGEST and (found := error(share * _FACTOR)) < least_error:
        share, least_error = share * _FACTOR, found
    return share
