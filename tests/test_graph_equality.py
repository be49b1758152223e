"""Graphs that are the same up to names, and that are not."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from graph_equality import difference
from onnx import TensorProto, helper, numpy_helper

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[n,4] x) => (float[n,2] y)
<float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, int64[2] s = {-1, 2}> {
  a = MatMul(x, w)
  b = Relu(a)
  c = Sigmoid(a)
  d = Add(b, c)
  parts = Softmax<axis = 1>(d)
  y = Reshape(parts, s)
}"""


def graph(text: str = TEXT) -> gs.Graph:
    return gs.import_onnx(onnx.parser.parse_model(text))


def changed(old: str, new: str) -> gs.Graph:
    assert old in TEXT
    return graph(TEXT.replace(old, new))


def test_names_and_the_order_of_nodes_do_not_matter() -> None:
    renamed = graph(TEXT.replace(" b", " q").replace("(b", "(q").replace("parts", "probabilities").replace("[n", "[m"))
    assert difference(graph(), renamed) is None
    lines = TEXT.splitlines()
    lines[4], lines[5] = lines[5], lines[4]
    assert difference(graph(), graph("\n".join(lines))) is None


def test_folded_parameters_may_differ_in_rounding() -> None:
    assert difference(graph(), changed("{1,2", "{1.00001,2")) is None
    assert difference(graph(), changed("{1,2", "{1.001,2")) == "the constants w and w"


def test_a_size_that_a_reshape_does_not_give_fits_any() -> None:
    assert difference(graph(), changed("s = {-1, 2}", "s = {0, 2}")) is None
    assert difference(graph(), changed("s = {-1, 2}", "s = {-1, 4}")) == "the constants s and s"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Relu", "Tanh", "the nodes Relu of b and Tanh of b"),
        ("axis = 1", "axis = 0", "axis of Softmax of parts and Softmax of parts: 1 and 0"),
        ("<axis = 1>", "", "the nodes Softmax of parts and Softmax of parts"),
        ("Sigmoid(a)", "Sigmoid(b)", "the nodes MatMul of a and Relu of b"),
        ("float[n,4] x", "float[2,4] x", "the inputs x and x"),
        ("Add(b, c)", "Add(c, b)", "the nodes Sigmoid of c and Relu of b"),
        ("d = Add(b, c)", "e = Relu(a) d = Add(e, c)", "inputs, outputs, nodes: (1, 1, 6) and (1, 1, 7)"),
    ],
)
def test_what_differs_is_named(old: str, new: str, expected: str) -> None:
    assert difference(graph(), changed(old, new)) == expected


def test_one_tensor_is_not_two() -> None:
    """As many nodes, but one of them read twice and the other not at all."""
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y)'
    first = graph(head + "{ a = Relu(x) b = Relu(x) y = Add(a, b) }")
    second = graph(head + "{ a = Relu(x) b = Relu(x) y = Add(a, a) }")
    assert difference(first, second) is not None
    assert difference(second, first) is not None


def conditional(scale: float, constant: float = 1.0) -> gs.Graph:
    """An If whose branches read a tensor from outside, and a ConstantOfShape, whose value is an attribute."""
    branch = helper.make_graph(
        [helper.make_node("Mul", ["shifted", "factor"], ["out"])],
        "then",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array(scale, np.float32), "factor")],
    )
    value = numpy_helper.from_array(np.array([constant], np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["two"], ["offset"], value=value),
        helper.make_node("Add", ["x", "offset"], ["shifted"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch),
    ]
    inputs = [
        helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    two = numpy_helper.from_array(np.array([2], np.int64), "two")
    made = helper.make_graph(nodes, "g", inputs, outputs, [two])
    return gs.import_onnx(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]))


def test_sub_graphs_and_attributes_that_are_tensors_are_compared() -> None:
    assert difference(conditional(2.0), conditional(2.0)) is None
    assert difference(conditional(2.0), conditional(3.0)) == "the constants factor and factor"
    found = difference(conditional(2.0), conditional(2.0, constant=5.0))
    assert found is not None
    assert found.startswith("value of ConstantOfShape of offset")


def test_infinities_hide_nothing() -> None:
    first, second = graph(), graph()
    first.tensors()["w"].values = np.where(np.eye(4), -np.inf, 1).astype(np.float32)
    second.tensors()["w"].values = first.tensors()["w"].values.copy()
    assert difference(first, second) is None
    second.tensors()["w"].values[0, 1] += 1
    assert difference(first, second) == "the constants w and w"
