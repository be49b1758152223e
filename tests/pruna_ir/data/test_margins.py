"""What a classifier can be expected to lose, from the margins of its samples."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.data.margins import FEWEST, expected_loss, margins
from pruna_ir.data.metrics import TopK
from pruna_ir.data.split import Batch

GENERATOR = np.random.default_rng(7)


@pytest.mark.parametrize("k", [1, 3])
def test_sign_says_whether_the_class_is_among_the_best(k: int) -> None:
    scores, classes = GENERATOR.standard_normal((200, 10)), GENERATOR.integers(0, 10, 200)
    best = np.argsort(-scores, axis=1)[:, :k]
    assert ((margins(scores, classes, k) > 0) == (best == classes[:, None]).any(1)).all()


def test_margin_is_the_gap_to_the_best_other_class() -> None:
    scores, classes = np.array([[1.0, 4.0, -2.0], [1.0, 4.0, -2.0]]), np.array([1, 2])
    assert margins(scores, classes).tolist() == [3.0, -6.0]


def test_probabilities_have_the_margins_of_their_logits() -> None:
    scores, classes = GENERATOR.standard_normal((50, 4)), GENERATOR.integers(0, 4, 50)
    odds = np.exp(scores)
    np.testing.assert_allclose(margins(odds / odds.sum(1, keepdims=True), classes), margins(scores, classes), rtol=1e-9)


def test_the_metric_keeps_them() -> None:
    scores, classes = GENERATOR.standard_normal((6, 4)).astype(np.float32), GENERATOR.integers(0, 4, 6)
    metric = TopK(1)
    assert metric.margins() is None
    for part in (slice(0, 4), slice(4, 6)):
        count = part.stop - part.start
        metric.update({"y": scores[part]}, Batch({}, classes[part], count, part.start, "calibration", count))
    found = metric.margins()
    assert found is not None and (found == margins(scores, classes)).all()
    assert metric.result() == (found > 0).mean()
    metric.reset()
    assert metric.margins() is None


def test_nothing_changed_is_no_loss() -> None:
    before = GENERATOR.normal(1, 2, 100)
    assert expected_loss(before, before) == 0.0


def test_few_samples_and_broken_ones_are_counted() -> None:
    before = GENERATOR.normal(1, 2, 100)
    assert expected_loss(before[: FEWEST - 1], before[: FEWEST - 1]) is None
    assert expected_loss(before, np.where(before > 2, np.nan, before)) is None


def test_everything_lost() -> None:
    before = np.abs(GENERATOR.normal(1, 2, 100)) + 0.1
    found = expected_loss(before, -before)
    assert found is not None and found > 0.9


def _draws(noise: float, power: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Losses of 300 draws of 100 samples, expected and counted, and the true one; noise may grow with the margin."""
    generator = np.random.default_rng(3)
    margin = generator.normal(2, 2.5, 200_000)
    after = margin + generator.normal(-noise / 10, noise, margin.size) * (0.5 + np.abs(margin)) ** power
    expected, counted = [], []
    for draw in generator.integers(0, margin.size, (300, 100)):
        found = expected_loss(margin[draw], after[draw])
        assert found is not None
        expected.append(found)
        counted.append((margin[draw] > 0).mean() - (after[draw] > 0).mean())
    return np.array(expected), np.array(counted), float((margin > 0).mean() - (after > 0).mean())


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_expectation_is_right_and_less_uncertain_than_counting(noise: float, power: float) -> None:
    expected, counted, true = _draws(noise, power)
    assert expected.std() < 0.8 * counted.std()
    assert abs(expected.mean() - true) < 4 * counted.std() / np.sqrt(len(counted)) + 0.003


def test_margins_of_an_odd_kind_are_not_believed() -> None:
    logits = GENERATOR.normal(2, 2, 100)
    before, after = np.sign(logits) * np.expm1(4 * np.abs(logits)), np.sign(logits) * np.expm1(3.9 * np.abs(logits))
    found = expected_loss(before, after)  # no sample changes sides, however far the largest margins move
    assert found is not None and abs(found) <= 0.02
