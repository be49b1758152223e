"""The quadratic error of a layer by its definition."""

from __future__ import annotations

import numpy as np

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal


def mean_error(normal: Normal, weights: np.ndarray) -> float:
    """The mean squared error of a row's outputs with these weights and the bias that belongs to them, summed up."""
    quadratic = ((weights @ normal.gram) * weights).sum()
    return float(quadratic - 2 * (weights * normal.cross).sum() + normal.power.sum())
