"""Least squares over rows that count differently, for the activation behind a layer."""

from __future__ import annotations

import numpy as np
import pytest
from quadratics import site

from pruna_ir.passes.pruning.reconstruction import weighted
from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE, solve
from pruna_ir.passes.pruning.reconstruction.observations import Chunk
from pruna_ir.passes.pruning.reconstruction.reading import Reading
from pruna_ir.passes.pruning.reconstruction.sites import Site
from pruna_ir.passes.pruning.reconstruction.smooth import ACTIVATIONS, Smooth
from pruna_ir.passes.pruning.reconstruction.weighted import Rounds, normal_of


def chunks(one: Site, others: bool = False) -> list[Chunk]:
    """Rows that explain the targets but for one column, which they lack; some targets are far off on one side."""
    random = np.random.default_rng(5)
    groups, outputs, width = one.matrix.shape
    found = []
    for _ in range(6):
        read = random.standard_normal((groups, 100, width)).astype(np.float32)
        target = 3 * read @ one.matrix.transpose(0, 2, 1) + one.bias[:, None]
        target -= 8 * (read[..., :1] > 0.3) * np.abs(read[..., -1:])
        beside = random.standard_normal((groups, 100, outputs)).astype(np.float32) if others else None
        found.append(Chunk(read, target.astype(np.float32), beside))
    return found


@pytest.mark.parametrize("centred", [True, False])
def test_quadratic_equals_the_definition(centred: bool) -> None:
    random = np.random.default_rng(1)
    prior, bias = random.standard_normal((2, 3, 5)), random.standard_normal((2, 3))
    rows = [
        tuple(random.random(shape).astype(np.float32) + 1 for shape in ((2, 40, 5), (2, 40), (2, 40, 3)))
        for _ in range(3)
    ]
    found = normal_of(rows, prior, bias, centred)  # type: ignore[arg-type]
    read, counts, wanted = (np.concatenate([row[n] for row in rows], axis=1).astype(float) for n in range(3))
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = (share[..., None] * read).sum(axis=1) if centred else np.zeros((2, 5))
    offset = (share[..., None] * wanted).sum(axis=1) if centred else bias
    x, t = read - mean[:, None], wanted - offset[:, None]
    np.testing.assert_allclose(found.gram, (x * share[..., None]).transpose(0, 2, 1) @ x, atol=1e-5)
    np.testing.assert_allclose(found.cross, (t * share[..., None]).transpose(0, 2, 1) @ x, atol=1e-5)
    np.testing.assert_allclose(found.power, (share[..., None] * t**2).sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(found.bias(prior), offset - (prior @ mean[..., None])[..., 0], atol=1e-5)


def behind(one: Site, some: list[Chunk], name: str, matrix: np.ndarray, bias: np.ndarray) -> float:
    """The squared error behind the activation."""
    total = 0.0
    for chunk in some:
        now = chunk.read @ matrix.transpose(0, 2, 1) + bias[:, None] + (0 if chunk.others is None else chunk.others)
        total += float(np.square(Smooth(name)(now) - Smooth(name)(chunk.target)).sum())
    return total


@pytest.mark.parametrize("most", [weighted.MOST_APART, 0], ids=["apart", "together"])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize(
    ("groups", "bias", "others"), [(1, True, False), (2, True, True), (1, False, False)], ids=["one", "sum", "matmul"]
)
def test_rounds_lower_the_error_behind_the_activation(
    name: str, groups: int, bias: bool, others: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted, "MOST_APART", most)
    one = site(groups, bias)
    some, kept = chunks(one, others), np.arange(one.layer.width) != 1
    reading = Reading(one, some)
    normal = reading.normal(reading.aim(some, lambda chunk: chunk.wanted))
    start = solve(normal, one.matrix, kept)
    errors = [behind(one, some, name, start, normal.bias(start))]
    for rounds in (1, 4):
        matrix, shift = Rounds(one, some, Smooth(name)).run(start, normal.bias(start), kept, RIDGE, rounds)
        assert matrix.shape == one.matrix.shape and not matrix[..., 1].any()
        assert bias or np.array_equal(shift, one.bias)
        errors.append(behind(one, some, name, matrix, shift))
    assert errors[2] <= errors[1] <= errors[0] and errors[2] < 0.999 * errors[0]


def test_no_rounds_change_nothing() -> None:
    one = site(1)
    matrix, shift = Rounds(one, chunks(one), Smooth("Tanh")).run(one.matrix, one.bias, np.ones(6, bool), RIDGE, 0)
    assert np.array_equal(matrix, one.matrix) and np.array_equal(shift, one.bias)


def test_rows_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = site(1)
    start = one.matrix, one.bias, np.ones(6, bool), RIDGE, 3
    whole = Rounds(one, chunks(one), Smooth("Sigmoid")).run(*start)
    monkeypatch.setattr(weighted, "_READ", 30 * one.matrix.size)
    parts = Rounds(one, chunks(one), Smooth("Sigmoid")).run(*start)
    for found, wanted in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_rows_that_are_not_finite_leave_the_start(name: str) -> None:
    one = site(1)
    some = chunks(one)
    some[2].read[0, 3, 1] = np.nan
    with np.errstate(invalid="ignore", over="ignore"):
        matrix, shift = Rounds(one, some, Smooth(name)).run(one.matrix, one.bias, np.ones(6, bool), RIDGE, 2)
    assert np.array_equal(matrix, one.matrix) and np.array_equal(shift, one.bias)
