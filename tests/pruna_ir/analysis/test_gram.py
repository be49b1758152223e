"""Second moments of what layers read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.analysis import gram
from pruna_ir.analysis.gram import Feeds, Moments, rounds, second_moments
from pruna_ir.analysis.layers import Layer, layer_of
from pruna_ir.model import Model
from pruna_ir.runtime.capture import capture


def layers_in(model: Model) -> list[Layer]:
    return [layer for node in model.graph.nodes if isinstance(layer := layer_of(node), Layer)]


def batches() -> Iterator[Feeds]:
    return ({"x": part} for part in np.split(samples(12), [4, 5, 9]))


def expected(model: Model, layer: Layer) -> tuple[np.ndarray, np.ndarray, int]:
    """Moments by the definition, all rows in memory."""
    rows = []
    if layer.tensor == "x":
        rows = [layer.rows.of(feeds["x"]) for feeds in batches()]
    else:
        capture(model, batches(), [layer.tensor], lambda _, values: rows.append(layer.rows.of(values[layer.tensor])))
    whole = np.concatenate(rows, axis=1).astype(np.float64)
    return np.matmul(whole.transpose(0, 2, 1), whole) / whole.shape[1], whole.mean(axis=1), whole.shape[1]


def check(model: Model, found: dict[str, Moments]) -> None:
    for layer in layers_in(model):
        matrix, mean, count = expected(model, layer)
        moments = found[layer.key]
        assert moments.count == count
        np.testing.assert_allclose(moments.gram, matrix, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(moments.mean, mean, rtol=1e-4, atol=1e-5)


def test_equals_the_definition() -> None:
    model = small_net()
    check(model, second_moments(model, batches(), layers_in(model)))


def test_rounds_keep_to_the_limit() -> None:
    """Matrices of 27, 72 and 8 columns: 5832, 41472 and 512 bytes."""
    groups = {layer.key: [layer] for layer in layers_in(small_net())}
    assert rounds(groups) == [["c1", "c2", "y"]]
    assert rounds(groups, 50_000) == [["c1", "c2", "y"]]
    assert rounds(groups, 42_000) == [["c1"], ["c2", "y"]]
    assert rounds(groups, 1) == [["c1"], ["c2"], ["y"]]


def test_grouped_convolution_and_progress() -> None:
    model = build(
        [conv("c", "x", "w", group=3, pads=[1, 1, 1, 1]), conv("y", "c", "v")],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 6, 1, 3, 3), "v": weights(1, 2, 6, 1, 1)},
    )
    done: list[int] = []
    found = second_moments(model, batches(), layers_in(model), progress=done.append)
    assert found["c"].gram.shape == (3, 9, 9) and done == [1, 2, 3, 4]
    check(model, found)


def test_layers_that_read_the_same_rows_share_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    added = 0
    add = gram._Sum.add

    def counted(self: gram._Sum, rows: np.ndarray) -> None:
        nonlocal added
        added += 1
        add(self, rows)

    monkeypatch.setattr(gram._Sum, "add", counted)
    nodes = [conv("a", "x", "w"), conv("b", "x", "v"), conv("c", "x", "w", strides=[2, 2])]
    constants = {"w": weights(0, 2, 3, 3, 3), "v": weights(1, 2, 3, 3, 3)}
    model = build(nodes, {"x": ["n", 3, 8, 8]}, ["a", "b", "c"], constants)
    found = second_moments(model, batches(), layers_in(model))
    assert found["a"] is found["b"] and found["c"] is not found["a"]
    assert added == 2 * 4


def test_merging_equals_one_pass() -> None:
    model = small_net()
    layers, data = layers_in(model), samples(12)
    parts = [second_moments(model, [{"x": p}], layers) for p in (data[:3], data[3:])]
    whole = second_moments(model, [{"x": data[:3]}, {"x": data[3:]}], layers)
    for key, moments in whole.items():
        merged = parts[0][key].merge(parts[1][key])
        assert merged.count == moments.count
        np.testing.assert_allclose(merged.gram, moments.gram, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(merged.covariance, moments.covariance, rtol=1e-6, atol=1e-8)


def test_what_is_not_finite_shows() -> None:
    model = build([conv("y", "x", "w")], {"x": ["n", 3, 8, 8]}, ["y"], {"w": weights(0, 2, 3, 1, 1)})
    broken = samples(2)
    broken[0, 0, 0, 0] = np.inf
    found = second_moments(model, [{"x": broken}], layers_in(model))
    assert not np.isfinite(found["y"].gram).all()


def test_float16_inputs_do_not_overflow() -> None:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph(
        [node],
        "half",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, [1, 2])],
        [onnx.numpy_helper.from_array(np.eye(2, dtype=np.float16), "w")],
    )
    model = Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9))
    found = second_moments(model, [{"x": np.array([[3e4, 1]], np.float16)}], layers_in(model))
    assert found["y"].gram[0, 0, 0] == pytest.approx(9e8, rel=1e-3)
