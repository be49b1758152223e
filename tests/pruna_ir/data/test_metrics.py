from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruna_ir.data import Dataset, evaluate
from pruna_ir.data.metrics import FunctionMetric, MeanError, Metric, TopK

RNG = np.random.default_rng(0)


def dataset(spec: Any, inputs: np.ndarray, labels: Any, batch: int | str = "N") -> Any:
    return Dataset.from_arrays((inputs, labels)).bind([spec("x", batch, *inputs.shape[1:])]).require("calibration")


def identity(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": feeds["x"]}


@pytest.mark.parametrize("batch", ["N", 4])
@pytest.mark.parametrize("k", [1, 5])
def test_top_k_over_padded_batches(spec: Any, k: int, batch: int | str) -> None:
    scores = RNG.standard_normal((30, 8)).astype(np.float32)
    labels = RNG.integers(0, 8, 30)
    expected = np.mean([label in np.argsort(-row)[:k] for row, label in zip(scores, labels, strict=True)])
    assert evaluate(identity, dataset(spec, scores, labels, batch), TopK(k), 7) == pytest.approx(expected)


def test_equal_scores_are_not_right_by_accident(spec: Any) -> None:
    data = dataset(spec, np.zeros((10, 10), np.float32), np.arange(10))
    assert evaluate(identity, data, TopK(5)) == 0.5


@pytest.mark.parametrize(("name", "power"), [("mse", 2), ("mae", 1)])
def test_mean_errors(spec: Any, name: str, power: int) -> None:
    values, wanted = RNG.standard_normal((9, 1)).astype(np.float32), RNG.standard_normal(9)
    metric = MeanError(name)
    expected = np.mean(np.abs(values[:, 0] - wanted) ** power)
    assert evaluate(identity, dataset(spec, values, wanted), metric, 4) == pytest.approx(expected)
    assert not metric.higher_is_better


def test_evaluate_starts_afresh(spec: Any) -> None:
    data = dataset(spec, np.eye(4, dtype=np.float32), np.arange(4))
    metric = TopK(1)
    assert evaluate(identity, data, metric) == evaluate(identity, data, metric) == 1.0


@pytest.mark.parametrize(
    ("metric", "labels", "word"),
    [
        (TopK(1), np.array([0, 1, 4]), "label 4 is not one of the 4 classes"),
        (TopK(1), np.array([0.5, 1, 2]), "one class number"),
        (TopK(5), np.eye(3, dtype=int), "one class number"),
        (MeanError("mse"), np.zeros(3), "the output's [1, 4]"),
    ],
)
def test_labels_that_do_not_fit(spec: Any, refuses: Any, metric: Metric, labels: np.ndarray, word: str) -> None:
    with refuses("D007", word, metric.name):
        evaluate(identity, dataset(spec, np.zeros((3, 4), np.float32), labels), metric)


def test_a_metric_that_needs_labels(spec: Any, refuses: Any) -> None:
    data = Dataset.from_arrays(np.zeros((3, 4), np.float32)).bind([spec("x", "N", 4)]).require("calibration")
    with refuses("D007", "`top1` needs labels"):
        evaluate(identity, data, TopK(1))


def test_function_gets_everything_at_once(spec: Any, refuses: Any) -> None:
    values = RNG.standard_normal((6, 2)).astype(np.float32)

    def score(outputs: np.ndarray, labels: np.ndarray) -> float:
        assert np.array_equal(outputs, values)
        return float(labels.sum())

    metric = FunctionMetric(score, "score")
    assert evaluate(identity, dataset(spec, values, [1, 2, 3], 4), metric) == 6

    def several(outputs: dict[str, np.ndarray], labels: Any) -> float:
        assert labels is None
        return float(len(outputs["a"]) + len(outputs["b"]))

    unlabelled = Dataset.from_arrays(values).bind([spec("x", "N", 2)]).require("calibration")
    twice = FunctionMetric(several, "several")
    assert evaluate(lambda feeds: {"a": feeds["x"], "b": feeds["x"]}, unlabelled, twice) == 12
    with refuses("D008", "`score`", "AttributeError"):
        evaluate(identity, unlabelled, metric)
