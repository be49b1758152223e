"""What groups are worth, and the samples that say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from channel_nets import images, residual_net

from pruna_ir.analysis.axes import analyze
from pruna_ir.data import Dataset, Preprocessing
from pruna_ir.model.spec import TensorSpec
from pruna_ir.passes.pruning import ranking
from pruna_ir.passes.pruning.candidates import Limits, survey_groups
from pruna_ir.passes.pruning.ranking import FALLBACK, Feeds, Ranker, Ranking, _parted, _scaled
from pruna_ir.passes.pruning.reconstruction.reads import coupled
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


def described(count: int, layout: str = "NCHW", **more: Any) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 255, (count, 8, 8, 3), np.uint8)
    return Dataset.from_arrays(pixels, preprocessing=Preprocessing(layout, scale=1 / 255), **more)


def test_few_images_come_with_their_mirror_images() -> None:
    data = described(10).bind(residual_net().inputs())
    plain = [batch.feeds["x"] for batch in data.require("calibration").batches(SMALL_BATCH)]
    feeds = [one["x"] for one in training_feeds(data, 2048)]
    for one, both in zip(plain, feeds, strict=True):
        np.testing.assert_array_equal(both, np.concatenate([one, one[..., ::-1]]))


def test_mirror_images_of_other_layouts() -> None:
    inputs = (TensorSpec("x", np.dtype(np.float32), ("n", 8, 8, 3)),)
    (feeds,) = training_feeds(described(3, "NHWC").bind(inputs), 2048)
    np.testing.assert_array_equal(feeds["x"][3:], feeds["x"][:3, :, ::-1])


def test_no_mirror_images_of_many_or_of_what_is_no_image_or_has_no_room() -> None:
    assert len(training_feeds(described(300).bind(residual_net().inputs()), 2048)[0]["x"]) == BATCH
    arrays = Dataset.from_arrays(images(8)).bind(residual_net().inputs())
    assert len(training_feeds(arrays, 2048)[0]["x"]) == SMALL_BATCH
    fixed = (TensorSpec("x", np.dtype(np.float32), (2, 3, 8, 8)),)
    assert [len(one["x"]) for one in training_feeds(described(4).bind(fixed), 2048)] == [2, 2]


@pytest.mark.parametrize(("runs", "count"), [(1, 1), (300, 2), (1 << 15, 4)])
def test_single_units_are_tried_on_as_many_samples_as_there_is_time_for(
    runs: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 of 64 units; batches of 4 samples."""
    monkeypatch.setattr(ranking, "UNIT_RUNS", runs)
    model = residual_net()
    analysis = analyze(model)
    feeds = [{"x": images(4)}] * 4
    effects = Ranker(model, analysis, "obs", feeds)._unit_effects(coupled(model, analysis), feeds)
    assert len(effects.batches) == count


def test_the_metric_says_which_units_matter() -> None:
    """With eyes for the first class only, other effects are found than with squares of all."""

    def seen(found: Feeds, wanted: Feeds) -> tuple[float, float]:
        gap = found["y"][:, 0] - wanted["y"][:, 0]
        return float(np.square(gap).sum()), 1e6

    feeds = [{"x": images(8)}] * 3
    plain, asked = ranked("obs", feeds), ranked("obs", feeds, metric=seen)
    for name, one in asked.items():
        assert (np.diff(one.errors) >= 0).all() and one.errors[-1] > 0
        assert one.scale * one.errors[-1] < 0.1 * plain[name].scale * plain[name].errors[-1]
    assert any((one.order != plain[name].order).any() for name, one in asked.items())
