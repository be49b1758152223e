"""Least squares with a prior, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from quadratics import mean_error

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal, solve

GROUPS, OUTPUTS, WIDTH, ROWS = 2, 3, 5, 40


def rows_and_targets(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [groups, rows, width], targets [groups, rows, outputs] and a prior."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((GROUPS, ROWS, WIDTH)) + 1.0
    prior = random.standard_normal((GROUPS, OUTPUTS, WIDTH))
    targets = rows @ prior.transpose(0, 2, 1) + random.standard_normal((GROUPS, ROWS, OUTPUTS)) + 3.0
    return rows, targets, prior


def centred(rows: np.ndarray, targets: np.ndarray) -> Normal:
    center, offset = rows.mean(axis=1), targets.mean(axis=1)
    x, t = rows - center[:, None], targets - offset[:, None]
    gram, cross = x.transpose(0, 2, 1) @ x / ROWS, t.transpose(0, 2, 1) @ x / ROWS
    return Normal(gram, cross, np.square(t).mean(axis=1), center, offset, np.zeros(GROUPS))


def test_equals_stacked_least_squares() -> None:
    """The ridge is rows of its own, sqrt(r) e_i with the prior as target; the bias is a column of ones without one."""
    rows, targets, prior = rows_and_targets()
    kept = np.array([True, False, True, True, False])
    normal = centred(rows, targets)
    found = solve(normal, prior, kept, 0.1)
    bias = normal.bias(found)
    for group in range(GROUPS):
        pull = np.sqrt(ROWS * normal.ridge(0.1)[group, 0, 0])
        x = np.hstack([rows[group][:, kept], np.ones((ROWS, 1))])
        extra = pull * np.eye(3, 4)
        wanted = np.linalg.lstsq(
            np.vstack([x, extra]), np.vstack([targets[group], extra[:, :3] @ prior[group][:, kept].T]), rcond=None
        )[0]
        np.testing.assert_allclose(found[group][:, kept], wanted[:3].T, rtol=1e-9)
        np.testing.assert_allclose(bias[group], wanted[3], rtol=1e-9)
    assert not found[..., ~kept].any()


def test_error_is_the_mean_squared_error() -> None:
    rows, targets, prior = rows_and_targets()
    normal = centred(rows, targets)
    outputs = rows @ prior.transpose(0, 2, 1) + normal.bias(prior)[:, None]
    assert mean_error(normal, prior) == pytest.approx(np.square(outputs - targets).mean(axis=1).sum())


def test_directions_without_rows_keep_the_prior() -> None:
    rows, targets, prior = rows_and_targets()
    rows[..., 1] = 0.0
    found = solve(centred(rows, targets), prior, np.ones(WIDTH, bool))
    np.testing.assert_allclose(found[..., 1], prior[..., 1])
    found = solve(centred(np.zeros_like(rows), targets), prior, np.ones(WIDTH, bool))
    np.testing.assert_allclose(found, prior)


def test_what_is_already_least_stays() -> None:
    rows, _, prior = rows_and_targets()
    normal = centred(rows, rows @ prior.transpose(0, 2, 1))
    np.testing.assert_allclose(solve(normal, prior, np.ones(WIDTH, bool)), prior, rtol=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_leave_the_prior(value: float) -> None:
    rows, targets, prior = rows_and_targets()
    normal = centred(rows, targets)
    normal.gram[0, 1, 2] = value
    kept = np.array([True, False, True, True, True])
    np.testing.assert_array_equal(solve(normal, prior, kept), prior * kept)


def test_nothing_kept() -> None:
    rows, targets, prior = rows_and_targets()
    normal = centred(rows, targets)
    found = solve(normal, prior, np.zeros(WIDTH, bool))
    assert not found.any()
    np.testing.assert_allclose(normal.bias(found), targets.mean(axis=1))
