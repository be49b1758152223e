"""Weights in 8 bits that the runtime unpacks at load."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import build, conv, runtime_ops, samples, small_net, weights

from pruna_ir.analysis import accuracy
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session


def run(text: str, model: Model, **options: object) -> str:
    result = PassManager.parse(text).run(model, **options)  # type: ignore[arg-type]
    return "\n".join(map(str, result.remarks))


def test_runtime_unpacks_them_at_load() -> None:
    model = small_net()
    before = runtime_ops(model)
    run("store-weights<share=1>", model)
    assert runtime_ops(model) == before
    assert sum(node.op == "Cast" for node in model.graph.nodes) == 3


def test_numbers_stay_close() -> None:
    model = small_net()
    expected = Session(model).run({"x": samples()})["y"]
    run("store-weights<share=1>", model)
    found = Session(model).run({"x": samples()})["y"]
    assert 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()) > 35


def test_every_channel_is_within_half_a_step() -> None:
    w = weights(0, 4, 3, 1, 1) * np.array([1e-3, 1, 10, 1e3], np.float32).reshape(4, 1, 1, 1)
    model = build([conv("y", "x", "w")], {"x": [1, 3, 4, 4]}, ["y"], {"w": w})
    run("store-weights<share=1>", model)
    tensors = model.graph.tensors()
    scale = tensors["w_scale"].values
    restored = tensors["w_stored"].values.astype(np.float32) * scale
    assert scale.shape == (4, 1, 1, 1)
    assert (np.abs(restored - w) <= scale / 2 * 1.0001).all()


def test_largest_first() -> None:
    model = small_net()  # 576 + 216 + 80 weights
    run("store-weights<share=0.6>", model)
    assert {node.name for node in model.graph.nodes if node.op == "Cast"} == {"w2_Cast"}


def test_shared_weights_are_stored_once_and_second_run_changes_nothing() -> None:
    model = build([conv("c", "x", "w"), conv("y", "c", "w")], {"x": [1, 4, 4, 4]}, ["y"], {"w": weights(0, 4, 4, 1, 1)})
    manager = PassManager.parse("store-weights")
    manager.run(model)
    assert sum(node.op == "Cast" for node in model.graph.nodes) == 1
    assert not manager.run(model).changed


def test_excluded_nodes_keep_their_weights() -> None:
    model = small_net()
    run("store-weights<share=1;exclude=[c2]>", model)
    assert {node.name for node in model.graph.nodes if node.op == "Cast"} == {"w1_Cast", "w3_Cast"}


@pytest.mark.parametrize(("limit", "expected"), [(3, 3), (2, 2), (0, 0)])
def test_guard_stores_less_where_accuracy_drops(limit: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The score is made to drop as soon as more than `limit` weights are stored."""

    def drop(self: accuracy.Evaluator, model: Model) -> float:
        return float(sum(node.op == "Cast" for node in model.graph.nodes) > limit)

    monkeypatch.setattr(accuracy.Evaluator, "drop", drop)
    model = small_net()
    remarks = run("store-weights<share=1>", model, data=samples())
    assert sum(node.op == "Cast" for node in model.graph.nodes) == expected
    assert ("more costs accuracy" in remarks) == (expected < 3)
