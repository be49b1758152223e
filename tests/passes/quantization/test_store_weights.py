"""Weights in 8 bits that the runtime unpacks at load."""

from __future__ import annotations

import numpy as np
import onnx
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


def test_each_row_of_a_looked_up_table_has_its_scale() -> None:
    table = weights(0, 5, 8) * np.logspace(-3, 3, 5, dtype=np.float32)[:, None]
    model = build(
        [onnx.helper.make_node("Gather", ["table", "rows"], ["c"]), onnx.helper.make_node("Add", ["c", "x"], ["y"])],
        {"x": [3, 8]},
        ["y"],
        {"table": table, "rows": np.array([4, 0, 2])},
    )
    run("store-weights<share=1>", model)
    found = Session(model).run({"x": np.zeros((3, 8), np.float32)})["y"]
    assert (
        np.abs(found - table[[4, 0, 2]]) <= np.abs(table[[4, 0, 2]]).max(axis=1, keepdims=True) / 254 * 1.0001
    ).all()


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


def stored_in(model: Model, dtype: type) -> int:
    """How many weights are stored in integers of a type."""
    casts = [node for node in model.graph.nodes if node.op == "Cast"]
    return sum(node.inputs[0].dtype == dtype for node in casts)


@pytest.mark.parametrize("limit", [3, 2, 0])
def test_guard_stores_more_bits_where_accuracy_drops(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The score is made to drop as soon as more than `limit` weights are stored in 8 bits."""
    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda _, model: float(stored_in(model, np.int8) > limit))
    model = small_net()
    remarks = run("store-weights<share=1>", model, data=samples())
    assert (stored_in(model, np.int8), stored_in(model, np.int16)) == (limit, 3 - limit)
    assert remarks.count("is stored in 16 bits: less would damage the outputs") == 3 - limit


def test_weights_that_no_integers_can_hold_stay_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        accuracy.Evaluator, "drop", lambda _, model: float(stored_in(model, np.int8) + stored_in(model, np.int16) > 1)
    )
    model = small_net()
    remarks = run("store-weights<share=1>", model, data=samples())
    assert stored_in(model, np.int8) + stored_in(model, np.int16) == 1
    assert remarks.count("stays in float: less would damage the outputs") == 2


@pytest.mark.parametrize("reader", ["op", "output", "sub-graph"])
def test_weight_that_is_needed_in_float_as_well_stays(reader: str) -> None:
    """Stored twice, it would make the file larger."""
    nodes = [conv("y", "x", "w")]
    outputs = ["y"]
    if reader == "op":
        nodes.append(onnx.helper.make_node("Tanh", ["w"], ["t"]))
        outputs.append("t")
    elif reader == "sub-graph":
        then, other = (
            onnx.helper.make_graph(
                [onnx.helper.make_node(op, ["w"], [op])], op, [], [onnx.helper.make_tensor_value_info(op, 1, None)]
            )
            for op in ("Tanh", "Neg")
        )
        nodes.append(onnx.helper.make_node("If", ["flag"], ["t"], then_branch=then, else_branch=other))
        outputs.append("t")
    constants = {"w": weights(0, 4, 3, 1, 1), "flag": np.array(True)}
    model = build(nodes, {"x": [1, 3, 4, 4]}, outputs, constants)
    if reader == "output":
        model.graph.outputs.append(model.graph.tensors()["w"])
    assert not PassManager.parse("store-weights<share=1>").run(model).changed


def test_names_that_are_taken() -> None:
    nodes = [conv("y", "x", "w"), onnx.helper.make_node("Tanh", ["y"], ["t"], name="w_Cast")]
    model = build(nodes, {"x": [1, 3, 4, 4]}, ["t"], {"w": weights(0, 4, 3, 1, 1)})
    run("store-weights<share=1>", model)
    assert sorted(node.name for node in model.graph.nodes) == ["w_Cast", "w_Cast_1", "w_Mul", "y"]
