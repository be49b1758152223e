"""Integers for a weight matrix W that keep a layer's outputs: least (W - Q) H (W - Q)^T for each row, H = E[x x^T].

All arrays are float64 and have a leading axis of groups: weights [groups, outputs, width], H [groups, width, width].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.passes.quantization.rounding.grid import Grid

Solver = Callable[[np.ndarray, np.ndarray, Grid], np.ndarray]
# The share of its mean that is added to the diagonal of H: directions the samples hardly show count for something.
DAMPING = 0.01
_BLOCK = 64
# Sweeps of coordinate descent over all columns at most: each lowers the error, the last ones by very little.
_SWEEPS = 20


def damped(gram: np.ndarray) -> np.ndarray:
    """H with a heavier diagonal; the identity where the samples show nothing at all."""
    mean = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    extra = np.where(mean > 0, DAMPING * mean, 1.0)
    return np.asarray(gram + extra[:, None, None] * np.eye(gram.shape[1]))


def error(weights: np.ndarray, rounded: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """The mean squared change of each output, [groups, outputs]."""
    gap = weights - rounded
    return np.asarray(((gap @ hessian) * gap).sum(axis=-1))


def nearest(weights: np.ndarray, hessian: np.ndarray, grid: Grid) -> np.ndarray:
    """Each weight by itself."""
    return grid.nearest(weights)


def gptq(weights: np.ndarray, hessian: np.ndarray, grid: Grid) -> np.ndarray:
    """GPTQ (Frantar et al. 2022), and coordinate descent from there: early columns then make up for late ones too."""
    return descend(weights, hessian, grid, columns_in_turn(weights, hessian, grid))


def columns_in_turn(weights: np.ndarray, hessian: np.ndarray, grid: Grid) -> np.ndarray:
    """GPTQ: round column after column, and let those still to come make up for what each has rounded away.

    Columns with the largest inputs come first. Errors are spread inside a block of columns at once, and beyond it when
    the block is done.
    """
    order = np.argsort(-np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    sort = order[:, None, :]
    low, high = (np.take_along_axis(np.broadcast_to(limit, weights.shape), sort, 2) for limit in (grid.low, grid.high))
    sorted_grid = Grid(grid.scale, low, high)
    left = np.take_along_axis(weights, sort, 2)
    factor = _factor(np.take_along_axis(np.take_along_axis(hessian, sort, 2), order[:, :, None], 1))
    integers = np.empty_like(left)
    width = weights.shape[-1]
    for start in range(0, width, _BLOCK):
        stop = min(start + _BLOCK, width)
        errors = np.empty((*left.shape[:2], stop - start))
        for column in range(start, stop):
            chosen = sorted_grid.nearest(left[..., column], column)
            integers[..., column] = chosen
            wrong = (left[..., column] - chosen * grid.scale[..., 0]) / factor[:, None, column, column]
            left[..., column:stop] -= wrong[..., None] * factor[:, None, column, column:stop]
            errors[..., column - start] = wrong
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    result = np.empty_like(integers)
    np.put_along_axis(result, np.broadcast_to(sort, integers.shape), integers, 2)
    return result


def _factor(hessian: np.ndarray) -> np.ndarray:
    """The upper triangle U with U^T U = H^-1."""
    return np.linalg.cholesky(np.linalg.inv(hessian)).transpose(0, 2, 1)


def adaround(weights: np.ndarray, hessian: np.ndarray, grid: Grid) -> np.ndarray:
    """Up or down for each weight, by AdaRound's objective (Nagel et al. 2020) without gradients or torch.

    AdaRound relaxes the choice and trains it on the samples; here the same quadratic, H summing up the samples, is
    lowered by coordinate descent over the choices until none helps.
    """
    return descend(weights, hessian, grid.neighbours(weights), grid.nearest(weights))


def descend(weights: np.ndarray, hessian: np.ndarray, grid: Grid, start: np.ndarray) -> np.ndarray:
    """Coordinate descent from `start`: each weight in turn takes its best integer given all others."""
    integers = start.copy()
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    slope = (weights - grid.values(integers)) @ hessian
    for _ in range(_SWEEPS):
        before = integers.copy()
        for column in range(weights.shape[-1]):
            best = integers[..., column] * grid.scale[..., 0] + slope[..., column] / diagonal[:, None, column]
            chosen = grid.nearest(best, column)
            moved = (chosen - integers[..., column]) * grid.scale[..., 0]
            if moved.any():
                slope -= moved[..., None] * hessian[:, None, column]
                integers[..., column] = chosen
        if (integers == before).all():
            break
    return integers


SOLVERS: dict[str, Solver] = {"nearest": nearest, "gptq": gptq, "adaround": adaround}
