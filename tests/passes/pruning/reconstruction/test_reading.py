"""Sums over the rows of a layer, and the ridge that cross-validation chooses."""

from __future__ import annotations

import numpy as np
import pytest
from quadratics import mean_error, site

from pruna_ir.passes.pruning.reconstruction.observations import Chunk
from pruna_ir.passes.pruning.reconstruction.reading import Reading
from pruna_ir.passes.pruning.reconstruction.sites import PARTS, Site
from pruna_ir.passes.pruning.reconstruction.tuned import best_ridge, without_noise
from pruna_ir.remarks import Reason


def chunks(one: Site, batches: int = 6, rows: int = 30, noise: float = 0.1) -> list[Chunk]:
    random = np.random.default_rng(5)
    groups, _, width = one.matrix.shape
    found = []
    for _ in range(batches):
        read = (random.standard_normal((groups, rows, width)) + 2.0).astype(np.float32)
        target = read @ one.matrix.transpose(0, 2, 1) + 1.0
        found.append(Chunk(read, (target + noise * random.standard_normal(target.shape)).astype(np.float32), None))
    return found


def wanted(chunk: Chunk) -> np.ndarray:
    return chunk.wanted


def stacked(some: list[Chunk]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.concatenate([chunk.read for chunk in some], axis=1).astype(np.float64)
    return rows, np.concatenate([chunk.wanted for chunk in some], axis=1).astype(np.float64)


@pytest.mark.parametrize("without", [None, 0, 2])
@pytest.mark.parametrize(("groups", "bias"), [(2, True), (1, True), (1, False)])
def test_quadratic_equals_the_definition(groups: int, bias: bool, without: int | None) -> None:
    one = site(groups, bias)
    some = chunks(one)
    reading = Reading(one, some, PARTS)
    normal = reading.normal(reading.aim(some, wanted), without)
    rows, targets = stacked([chunk for number, chunk in enumerate(some) if number % PARTS != without])
    center = rows.mean(axis=1) if bias else np.zeros_like(rows[:, 0])
    offset = targets.mean(axis=1) if bias else one.bias
    x, t = rows - center[:, None], targets - offset[:, None]
    np.testing.assert_allclose(normal.gram, x.transpose(0, 2, 1) @ x / rows.shape[1], atol=1e-4)
    np.testing.assert_allclose(normal.cross, t.transpose(0, 2, 1) @ x / rows.shape[1], atol=1e-4)
    np.testing.assert_allclose(normal.power, np.square(t).mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(normal.bias(one.matrix), offset - (one.matrix @ center[..., None])[..., 0], atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_error_of_a_part_equals_the_definition(bias: bool) -> None:
    one = site(1, bias)
    some = chunks(one)
    reading = Reading(one, some, PARTS)
    aim = reading.aim(some, wanted)
    tried, shift = one.matrix + 0.1, one.bias + 0.3
    for part in range(PARTS):
        rows, targets = stacked(some[part::PARTS])
        direct = np.square(rows @ tried.transpose(0, 2, 1) + shift[:, None] - targets).sum()
        assert reading.error(aim, part, tried, shift) == pytest.approx(direct, rel=1e-4)


def test_unchanged_wants_what_the_first_weights_make() -> None:
    one = site()
    some = chunks(one)
    normal = Reading(one, some).unchanged(one)
    np.testing.assert_allclose(without_noise(normal).gram, normal.gram)
    assert mean_error(normal, one.matrix) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(normal.bias(one.matrix), one.bias, atol=1e-9)


def test_noise_falls_with_the_samples() -> None:
    """Rows that repeat inside of a batch are no new samples."""
    one = site(1)
    few, many = (float(Reading(one, chunks(one, number)).noise[0]) for number in (4, 64))
    assert 0 <= many < 0.5 * few
    some = chunks(one, 8, rows=2)
    repeated = [Chunk(np.repeat(chunk.read, 20, axis=1), chunk.target, None) for chunk in some]
    assert Reading(one, repeated).noise[0] == pytest.approx(Reading(one, some).noise[0], rel=1e-3)
    assert Reading(one, some[:1]).noise[0] == 0


@pytest.mark.parametrize(
    ("away", "noise", "rows", "low", "high"), [(0.5, 0.01, 200, 0.01, 0.1), (0.0, 3.0, 2, 1.0, 1000.0)]
)
def test_ridge_grows_where_targets_are_chance(away: float, noise: float, rows: int, low: float, high: float) -> None:
    """With enough rows the prior is left; with few, and much noise, staying there predicts better."""
    one = site(1)
    some = chunks(one, 4, rows, noise)
    reading = Reading(one, some, PARTS)
    found = best_ridge(reading, reading.aim(some, wanted), one.matrix + away, np.ones(6, bool), 0.01)
    assert low <= found <= high


def test_sites_are_what_they_seem() -> None:
    assert not isinstance(site(), Reason) and site(1, bias=False).bias_slot is None
