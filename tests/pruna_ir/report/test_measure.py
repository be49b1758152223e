from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.report.measure import Open, measure_latencies, measure_scores
from pruna_ir.report.summary import Speedup
from pruna_ir.runtime.session import Session


def scaler(factor: float) -> Open:
    """Opens x [n, 3] -> x * factor."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[n,3] x) => (float[n,3] y) <float f = {{{factor}}}> {{ y = Mul (x, f) }}"""
    return lambda: Session(onnx.parser.parse_model(text))


SAMPLES = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
LABELS = SAMPLES.argmax(1)


def bound(**splits: Any) -> BoundDataset:
    return Dataset.from_arrays(**splits).bind(scaler(1.0)().inputs)


def test_test_split_is_scored() -> None:
    data = bound(calibration=SAMPLES[:4], test=(SAMPLES, LABELS), metric="top1")
    seen: list[tuple[str, int, int]] = []
    scores = measure_scores(data, scaler(1.0), scaler(-1.0), lambda *progress: seen.append(progress))
    assert not isinstance(scores, Unmeasured)
    assert [(score.name, score.value, score.split) for score in scores] == [
        ("top1", 1.0, "test"),
        ("top1", 0.0, "test"),
    ]
    assert seen[-1] == ("top1, after (test)", 20, 20)


def test_calibration_split_is_scored_by_agreement_where_there_is_nothing_else() -> None:
    scores = measure_scores(bound(calibration=SAMPLES), scaler(1.0), scaler(2.0))
    assert not isinstance(scores, Unmeasured)
    assert {(score.name, score.value, score.split) for score in scores} == {("agreement", 1.0, "calibration")}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no data was given"),
        (Dataset.load("random").bind(scaler(1.0)().inputs), "random numbers"),
        (bound(calibration=SAMPLES, test=(SAMPLES, LABELS + 7), metric="top1"), "is not one of the 3 classes"),
        (bound(train=SAMPLES), "neither a test nor a calibration split"),
    ],
)
def test_unmeasured_says_why(data: BoundDataset | None, reason: str) -> None:
    found = measure_scores(data, scaler(1.0), scaler(1.0))
    assert isinstance(found, Unmeasured) and reason in found.reason


def test_latencies() -> None:
    found = measure_latencies(scaler(1.0), scaler(2.0), {"x": SAMPLES[:1]}, seconds=0.05)
    assert isinstance(found.speedup, Speedup) and found.speedup.low <= found.speedup.median <= found.speedup.high
    wrong = measure_latencies(scaler(1.0), scaler(2.0), {"z": SAMPLES[:1]}, seconds=0.05)
    assert isinstance(wrong.speedup, Unmeasured) and "do not fit" in wrong.speedup.reason
