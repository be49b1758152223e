"""Rounding that looks at the layer's inputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.passes.quantization.rounding.grid import Grid, best_scale, found_again, grid_of
from pruna_ir.passes.quantization.rounding.solvers import (
    SOLVERS,
    adaround,
    columns_in_turn,
    damped,
    descend,
    error,
    gptq,
    nearest,
)

HIGHEST = 7


def problem(seed: int, groups: int = 2, outputs: int = 4, width: int = 90) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Weights, a Hessian of correlated inputs, and a grid of 4 bits. The width is more than a block of columns."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((groups, width, width)) * 0.3 + np.eye(width)
    rows = random.standard_normal((groups, 4 * width, width)) @ mixing
    weights = random.standard_normal((groups, outputs, width))
    scale = np.abs(weights).max(axis=-1, keepdims=True) / HIGHEST
    return weights, damped(rows.transpose(0, 2, 1) @ rows / rows.shape[1]), grid_of(weights, scale, HIGHEST)


def total(weights: np.ndarray, hessian: np.ndarray, grid: Grid, integers: np.ndarray) -> float:
    return float(error(weights, grid.values(integers), hessian).sum())


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@pytest.mark.parametrize("seed", range(3))
def test_better_than_nearest(method: str, seed: int) -> None:
    weights, hessian, grid = problem(seed)
    better, plain = (total(weights, hessian, grid, SOLVERS[m](weights, hessian, grid)) for m in (method, "nearest"))
    assert better < 0.6 * plain


def test_gptq_of_one_column_after_the_other() -> None:
    """The method by its definition: the inverse of the Hessian of the columns that are left, found anew for each."""
    weights, hessian, grid = problem(0, groups=1, outputs=3, width=70)
    matrix, left, h = weights[0].copy(), list(range(70)), hessian[0]
    expected = np.empty_like(matrix)
    for column in np.argsort(-np.diag(h), kind="stable"):
        low, high = grid.low[0, :, column], grid.high[0, :, column]
        expected[:, column] = np.clip(np.rint(matrix[:, column] / grid.scale[0, :, 0]), low, high)
        inverse = np.linalg.inv(h[np.ix_(left, left)])
        at = left.index(column)
        wrong = (matrix[:, column] - expected[:, column] * grid.scale[0, :, 0]) / inverse[at, at]
        matrix[:, left] -= np.outer(wrong, inverse[at])
        left.remove(int(column))
    np.testing.assert_array_equal(columns_in_turn(weights, hessian, grid)[0], expected)


def test_descent_ends_where_no_single_change_helps() -> None:
    weights, hessian, grid = problem(1, groups=1, outputs=2, width=12)
    integers = descend(weights, hessian, grid, nearest(weights, hessian, grid))
    reached = total(weights, hessian, grid, integers)
    for output, column, step in itertools.product(range(2), range(12), (-1, 1)):
        changed = integers.copy()
        changed[0, output, column] += step
        if grid.low[0, output, column] <= changed[0, output, column] <= grid.high[0, output, column]:
            assert total(weights, hessian, grid, changed) >= reached * (1 - 1e-12)


def test_adaround_goes_up_or_down() -> None:
    weights, hessian, grid = problem(2)
    integers = adaround(weights, hessian, grid)
    assert (np.abs(integers - weights / grid.scale) < 1 + 1e-9).all()
    assert (integers != nearest(weights, hessian, grid)).any()


@pytest.mark.parametrize("method", list(SOLVERS))
@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8))
def test_result_is_on_the_grid_and_its_scale_is_found_again(method: str, seed: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    weight = (random.standard_normal((3, 8)) * 10.0 ** random.integers(-6, 4, (3, 1))).astype(np.float32)
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True, bits=bits)
    scale = found_again(scheme.of_weights(weight).scale.reshape(1, 3, 1), scheme.highest)
    matrix = weight[None].astype(np.float64)
    rows = random.standard_normal((20, 8))
    integers = SOLVERS[method](matrix, damped((rows.T @ rows)[None]), grid_of(matrix, scale, scheme.highest))
    values = (integers.astype(np.float32) * scale)[0]
    params = scheme.of_weights(values)
    np.testing.assert_array_equal(params.scale, scale.reshape(-1))
    np.testing.assert_array_equal(scheme.quantize(values, params), integers[0])
    np.testing.assert_array_equal(scheme.dequantize(scheme.quantize(values, params), params), values)


@pytest.mark.parametrize("method", list(SOLVERS))
def test_weights_on_the_grid_stay(method: str) -> None:
    weights, hessian, grid = problem(3)
    rounded = grid.values(grid.nearest(weights))
    np.testing.assert_array_equal(grid.values(SOLVERS[method](rounded, hessian, grid)), rounded)


@pytest.mark.parametrize("method", list(SOLVERS))
def test_inputs_that_are_always_zero_leave_the_nearest(method: str) -> None:
    weights, _, grid = problem(4)
    hessian = damped(np.zeros((2, 90, 90)))
    np.testing.assert_array_equal(SOLVERS[method](weights, hessian, grid), grid.nearest(weights))


def test_channels_of_zeros_stay_zero() -> None:
    weights, hessian, _ = problem(5)
    weights[0, 1] = 0.0
    scale = np.abs(weights).max(axis=-1, keepdims=True) / HIGHEST
    grid = grid_of(weights, np.where(scale > 0, scale, 1.0), HIGHEST)
    assert all((solve(weights, hessian, grid)[0, 1] == 0).all() for solve in SOLVERS.values())


def test_one_scale_for_all_channels() -> None:
    weights, hessian, _ = problem(6)
    scale = np.abs(weights).max(keepdims=True) / HIGHEST
    grid = grid_of(weights, scale, HIGHEST)
    integers = gptq(weights, hessian, grid)
    assert np.abs(integers).max() == HIGHEST
    assert total(weights, hessian, grid, integers) < total(weights, hessian, grid, nearest(weights, hessian, grid))


def test_best_scale_clips_an_outlier() -> None:
    weights, hessian, _ = problem(7)
    weights[:, :, 0] *= 8
    scale = (np.abs(weights).max(axis=-1, keepdims=True) / HIGHEST).astype(np.float32)
    hessian[:, 0, 0] *= 1e-3  # which the inputs hardly show
    found = best_scale(weights, hessian, scale, HIGHEST)
    assert (found < scale).all()
    before, after = (grid_of(weights, s, HIGHEST) for s in (scale, found))
    assert total(weights, hessian, after, after.nearest(weights)) < total(
        weights, hessian, before, before.nearest(weights)
    )


def test_best_scale_keeps_a_grid_that_fits() -> None:
    weights, hessian, grid = problem(8)
    rounded = grid.values(grid.nearest(weights))
    np.testing.assert_array_equal(best_scale(rounded, hessian, grid.scale, HIGHEST), grid.scale)


@given(st.lists(st.floats(2.0**-60, 2.0**60, width=32), min_size=1, max_size=50), st.integers(2, 8))
def test_scales_are_found_again(values: list[float], bits: int) -> None:
    highest = 2 ** (bits - 1) - 1
    scale = np.array(values, np.float32)
    found = found_again(scale, highest)
    np.testing.assert_allclose(found, scale, rtol=3e-7)
    again = ((found * np.float32(highest)).astype(np.float64) / highest).astype(np.float32)
    np.testing.assert_array_equal(again, found)
