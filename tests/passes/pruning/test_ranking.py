"""What groups are worth, and the samples that say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from channel_nets import images, residual_net

from pruna_ir.analysis.axes import analyze
from pruna_ir.data import Dataset
from pruna_ir.passes.pruning.candidates import Limits, survey_groups
from pruna_ir.passes.pruning.ranking import FALLBACK, Ranker, Ranking, _parted, _scaled
from pruna_ir.passes.pruning.samples import BATCH, SMALL_BATCH, training_feeds
from pruna_ir.pipeline.context import silent


def batches(*sizes: int) -> list[dict[str, np.ndarray]]:
    return [{"x": np.zeros((size, 3), np.float32)} for size in sizes]


def ranked(criterion: str, feeds: Any = (), **more: Any) -> dict[str, Ranking]:
    model = residual_net()
    analysis = analyze(model)
    survey = survey_groups(model.graph, analysis, Limits(), "test")
    return Ranker(model, analysis, criterion, feeds, **more).rank(survey.candidates, silent)


def test_effects_have_samples_of_their_own() -> None:
    fitted, held_out = _parted(batches(*[16] * 100))
    assert (len(fitted), len(held_out)) == (32, 8)  # 640 samples in all
    fitted, held_out = _parted(batches(4, 4, 4))
    assert (len(fitted), len(held_out)) == (2, 1)
    fitted, held_out = _parted(batches(2000))
    assert len(fitted) == len(held_out) == 1


def test_every_group_has_a_whole_curve() -> None:
    for name in ("l2", "obs"):
        rankings = ranked(name, [{"x": images(8)}] * 3)
        assert [(len(one.order), len(one.errors)) for one in rankings.values()] == [(15, 16), (23, 24), (23, 24)]
        assert all(one.errors[0] == 0 and (np.diff(one.errors) >= 0).all() for one in rankings.values())


def test_without_data_obs_falls_back() -> None:
    assert {one.criterion for one in ranked("obs").values()} == {FALLBACK}
    assert {one.criterion for one in ranked("obs", [{"x": images(8)}] * 3).values()} == {"obs"}
    assert {one.criterion for one in ranked("bn-scale").values()} == {FALLBACK}


def test_measured_effects_scale_the_curves() -> None:
    rankings = ranked("l2", [{"x": images(8)}] * 3)
    plain = ranked("l2", [{"x": images(8)}] * 3, measure=False)
    assert all(one.scale == 1 for one in plain.values())
    halves = [one.scale * one.errors[len(one.errors) // 2] for one in rankings.values()]
    assert len(set(halves)) == 3 and all(half > 0 for half in halves)


def test_unmeasured_groups_get_the_usual_scale() -> None:
    curve = np.array([0.0, 1.0, 2.0, 4.0])
    rankings = {name: Ranking(np.arange(3), curve, "l2") for name in "abcd"}
    scaled = _scaled(rankings, {"a": 2.0, "b": 4.0, "c": float("inf")})
    assert [scaled[name].scale for name in "abcd"] == [1.0, 2.0, 1.5, 1.5]


@pytest.mark.parametrize(("count", "batch"), [(40, SMALL_BATCH), (300, BATCH)])
def test_few_samples_come_in_small_batches(count: int, batch: int) -> None:
    data = Dataset.from_arrays(images(count)).bind(residual_net().inputs())
    feeds = training_feeds(data, 2048)
    assert len(feeds[0]["x"]) == batch
    assert sum(len(one["x"]) for one in feeds) == count
    assert sum(len(one["x"]) for one in training_feeds(data, 20)) == 20


def test_train_follows_calibration() -> None:
    data = Dataset.from_arrays(images(8), train=images(8) + 1).bind(residual_net().inputs())
    feeds = training_feeds(data, 12)
    assert sum(len(one["x"]) for one in feeds) == 12
    np.testing.assert_array_equal(feeds[2]["x"], images(8)[:4] + 1)
