from __future__ import annotations

import math

import numpy as np
import pytest
import seeded_passes as seeded
from seeded_passes import Seeded, small_model

from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.drift import Drift
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

SAMPLES = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


def test_every_change_is_measured_against_the_original() -> None:
    change, idle = Seeded(seeded.change_weights), Seeded(seeded.nothing, says=False)
    same, back = Seeded(seeded.nothing), Seeded(seeded.change_weights_back)
    stages = (
        PassManager([same, idle, change, change, back, back])
        .run(small_model(), data=SAMPLES, instruments=[Drift()])
        .stages
    )
    first, unchanged, once, twice, less, equal = stages
    assert (first.sqnr_db, first.max_error) == (math.inf, 0.0)
    assert (unchanged.sqnr_db, unchanged.max_error) == (None, None)
    assert once.sqnr_db is not None and twice.sqnr_db is not None and less.sqnr_db is not None
    assert once.sqnr_db > twice.sqnr_db
    assert less.sqnr_db == pytest.approx(once.sqnr_db)
    assert equal.sqnr_db == math.inf
    assert [stage.metric for stage in stages] == [None] * 6


def test_the_figures_are_those_of_the_outputs() -> None:
    (stage,) = (
        PassManager([Seeded(seeded.change_weights)]).run(small_model(), data=SAMPLES, instruments=[Drift()]).stages
    )
    shifts = np.arange(1, 5)
    wanted, found = np.exp(np.maximum(SAMPLES + shifts, 0)), np.exp(np.maximum(SAMPLES + shifts + 1, 0))
    assert stage.sqnr_db == pytest.approx(10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()), rel=1e-5)
    assert stage.max_error == pytest.approx(np.abs(found - wanted).max() / np.ptp(wanted), rel=1e-5)


def test_the_score_is_measured_when_asked_for() -> None:
    labels = SAMPLES.argmax(1)
    data = Dataset.from_arrays((SAMPLES, labels), metric="top1")
    drift = Drift(metric=True)
    (stage,) = PassManager([Seeded(seeded.change_weights)]).run(small_model(), data=data, instruments=[drift]).stages
    expected = (np.maximum(SAMPLES + np.arange(2, 6), 0).argmax(1) == labels).mean()
    assert drift.metric_name == "top1"
    assert stage.metric == pytest.approx(expected)
    assert drift.reference_score == pytest.approx((np.maximum(SAMPLES + np.arange(1, 5), 0).argmax(1) == labels).mean())


def test_without_data_nothing_is_measured_and_the_reason_is_given() -> None:
    drift = Drift(metric=True)
    (stage,) = PassManager([Seeded(seeded.change_weights)]).run(small_model(), instruments=[drift]).stages
    assert (stage.sqnr_db, stage.max_error, stage.metric) == (None, None, None)
    assert drift.reason == "no data was given"
    assert (drift.metric_name, drift.reference_score) == (None, None)


def test_the_test_split_is_never_touched() -> None:
    drift = Drift()
    data = Dataset.from_arrays(test=SAMPLES)
    (stage,) = PassManager([Seeded(seeded.change_weights)]).run(small_model(), data=data, instruments=[drift]).stages
    assert stage.sqnr_db is None
    assert drift.reason == "the data has neither a calibration nor a train split"


def test_a_model_that_does_not_run_is_blamed_on_the_pass() -> None:
    with pytest.raises(PrunaError) as caught:
        PassManager([Seeded(seeded.unknown_operator)]).run(small_model(), data=SAMPLES, instruments=[Drift()])
    diagnostic = caught.value.diagnostic
    assert (diagnostic.code, diagnostic.place) == ("P008", "seeded")
    assert diagnostic.message.startswith("after `seeded` the model does not run: ONNX Runtime refuses the model")


def test_no_pass_is_blamed_for_an_original_that_does_not_run() -> None:
    """An index beyond the table: only a run shows it."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
        g (int64[n] x) => (float[n] y) <float[2] table = {1, 2}> { i = Identity (x) y = Gather (table, i) }"""
    drift = Drift()
    result = PassManager.parse("dead-code").run(Model.from_text(text), data=np.full((4, 1), 9), instruments=[drift])
    assert result.changed and result.stages[0].sqnr_db is None
    assert drift.reason.startswith("the original model does not run on the data: ONNX Runtime failed")
