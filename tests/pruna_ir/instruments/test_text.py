from __future__ import annotations

import numpy as np
import onnx
from onnx.helper import make_node

from pruna_ir.instruments import text
from pruna_ir.model import Model


def test_small_graphs_read_like_onnx_text() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N,2] x) => (float[N,2] y) <float[2] b = {0.5, 1}, int64[1] k = {3}> {
            a = Add (x, b)
            [last] y = Softmax <axis = 1> (a)
        }
        """
    )
    assert text.lines(model) == [
        "g (float[N,2] x) => (float[N,2] y)",
        "  float[2] b = {0.5, 1}",
        "  a = Add (x, b)",
        "  [last] y = Softmax <axis: int = 1> (a)",
    ]


def body(constant: np.ndarray) -> onnx.GraphProto:
    return onnx.helper.make_graph(
        [make_node("Mul", ["x", "w"], ["t"])],
        "body",
        [],
        [onnx.helper.make_tensor_value_info("t", 1, [32])],
        [onnx.numpy_helper.from_array(constant, "w")],
    )


def with_bodies(constant: np.ndarray) -> Model:
    """An If whose branches hold a weight each, and a Constant node."""
    nodes = [
        make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(constant)),
        make_node("If", ["b"], ["i"], then_branch=body(constant), else_branch=body(constant)),
        make_node("Add", ["c", "i"], ["y"]),
    ]
    inputs = [onnx.helper.make_tensor_value_info("b", 9, []), onnx.helper.make_tensor_value_info("x", 1, [32])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [onnx.helper.make_tensor_value_info("y", 1, [32])])
    return Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))


def test_large_constants_are_hashed_wherever_they_are() -> None:
    ones, twos = with_bodies(np.ones(32, np.float32)), with_bodies(np.full(32, 2, np.float32))
    fingerprint = ones.fingerprint()
    first, second = text.lines(ones), text.lines(twos)
    different = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert len(different) == 3  # the Constant and both branches
    assert all(len(line) < 200 for line in first)
    assert ones.fingerprint() == fingerprint  # looking changes nothing
