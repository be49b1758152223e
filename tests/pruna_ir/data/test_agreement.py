from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruna_ir.data import Agreement, Dataset, Split, evaluate

VALUES = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)


@pytest.fixture
def data(spec: Any) -> Split:
    return Dataset.from_arrays(VALUES).bind([spec("x", 3, 6)]).require("calibration")


def test_classifier_counts_equal_best_classes(data: Split) -> None:
    noise = np.random.default_rng(1).standard_normal((6, 6)).astype(np.float32) * 0.3
    found = evaluate(lambda f: {"y": f["x"] + f["x"] @ noise}, data, Agreement(lambda f: {"y": f["x"]}))
    expected = ((VALUES + VALUES @ noise).argmax(1) == VALUES.argmax(1)).mean()
    assert found == pytest.approx(expected) and 0 < found < 1


def test_other_outputs_are_compared_by_their_error(data: Split) -> None:
    metric = Agreement(lambda f: {"y": f["x"][:, :, None]})
    assert evaluate(lambda f: {"y": f["x"][:, :, None]}, data, metric) == 1.0
    # An error of a tenth of the signal: an SQNR of 20 dB.
    assert evaluate(lambda f: {"y": f["x"][:, :, None] * np.float32(1.1)}, data, metric) == pytest.approx(0.9, abs=1e-6)
    assert evaluate(lambda f: {"y": f["x"][:, :, None] * np.float32(np.inf)}, data, metric) == 0.0


def test_infinite_references_want_the_same(data: Split) -> None:
    def masked(feeds: dict[str, np.ndarray], mask: float) -> dict[str, np.ndarray]:
        return {"y": np.where(feeds["x"] > 1, np.float32(mask), feeds["x"])[:, :, None]}

    metric = Agreement(lambda f: masked(f, -np.inf))
    assert evaluate(lambda f: masked(f, -np.inf), data, metric) == 1.0
    assert evaluate(lambda f: masked(f, np.inf), data, metric) == 0.0
    assert evaluate(lambda f: masked(f, 0.0), data, metric) == 0.0


def test_several_outputs_are_averaged_and_integers_compared(data: Split) -> None:
    def outputs(feeds: dict[str, np.ndarray], factor: float, shift: int) -> dict[str, np.ndarray]:
        classes = feeds["x"].argmax(1)
        classes[feeds["x"][:, 0] > 0] += shift
        return {"a": feeds["x"], "b": feeds["x"] * np.float32(factor), "c": classes}

    found = evaluate(lambda f: outputs(f, 0.5, 1), data, Agreement(lambda f: outputs(f, 1.0, 0)))
    assert found == pytest.approx((1 + 0.5 + (VALUES[:, 0] <= 0).mean()) / 3, abs=1e-6)


@pytest.mark.parametrize(("room", "runs"), [(1 << 20, 7), (0, 14), (2 * 3 * 8, 7 + 5)])
def test_the_reference_runs_once_where_there_is_room(data: Split, room: int, runs: int) -> None:
    calls = []

    def reference(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        calls.append(1)
        return {"y": feeds["x"]}

    metric = Agreement(reference, cache_bytes=room)
    assert [evaluate(lambda f: {"y": f["x"]}, data, metric) for _ in range(2)] == [1.0, 1.0]
    assert len(calls) == runs


def test_silent_reference(spec: Any) -> None:
    data = Dataset.from_arrays(VALUES * 0).bind([spec("x", "N", 6)]).require("calibration")
    metric = Agreement(lambda f: {"y": f["x"][:, :, None]})
    assert evaluate(lambda f: {"y": f["x"][:, :, None]}, data, metric) == 1.0
    assert evaluate(lambda f: {"y": f["x"][:, :, None] + 1}, data, metric) == 0.0
