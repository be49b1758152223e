"""Computing now what does not depend on the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.simplify.fold_constants import FoldConstants
from pruna_ir.testing import check_pass, missed, ops


def graph(body: str, inputs: str = "float[1,3,4] x", outputs: str = "float[D] y", **weights: Any) -> Model:
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **weights)


def constant_of(model: Model, name: str) -> np.ndarray:
    tensor = model.graph.tensors()[name]
    assert isinstance(tensor, gs.Constant)
    return np.asarray(tensor.values)


def test_folds_shape_arithmetic() -> None:
    body = """s = Shape(x) i = Constant <value = int64[1] {1}> () n = Gather(s, i)
        k = Constant <value_ints = [4]> () m = Mul(n, k) y = Reshape(x, m)"""
    after, result = check_pass(FoldConstants(), graph(body))
    assert ops(after) == ["Reshape"]
    assert constant_of(after, "m").tolist() == [12]
    assert result.counts == {"Constant nodes inlined": 2, "shapes folded": 1, "nodes folded": 2}


def test_folds_a_shape_that_is_known_where_it_is_read() -> None:
    body = "s = Shape <start: int = 1> (x) y = Reshape(x, s)"
    after, _ = check_pass(FoldConstants(), graph(body, "float[1,3,4] x", "float[3,4] y"))
    assert constant_of(after, "s").tolist() == [3, 4]
    body = "s = Size(x) c = Cast <to: int = 1> (s) y = Mul(x, c)"
    after, _ = check_pass(FoldConstants(), graph(body, "float[3,4] x", "float[3,4] y"))
    assert constant_of(after, "c").tolist() == 12


def test_what_is_folded_tells_shapes_behind_it() -> None:
    """ONNX cannot infer what a Reshape to computed sizes gives, until they are folded."""
    body = "n = Abs(k) r = Reshape(x, n) s = Size(r) c = Cast <to: int = 1> (s) y = Mul(r, c)"
    after, result = check_pass(FoldConstants(), graph(body, outputs="float[a,b] y", k=np.array([-2, 6])))
    assert ops(after) == ["Reshape", "Mul"]
    assert constant_of(after, "c").tolist() == 12
    assert after.graph.nodes[0].outputs[0].shape == [2, 6]
    assert result.counts == {"nodes folded": 2, "shapes folded": 1}


def test_keeps_a_shape_that_is_not_known() -> None:
    body = "s = Shape(x) t = Reshape(x, s) y = Relu(t)"
    after, result = check_pass(FoldConstants(), graph(body, "float[N,3] x", "float[N,3] y"))
    assert ops(after) == ["Shape", "Reshape", "Relu"]
    assert not result.changed


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("value = float[2] {1, 2}", [1, 2]),
        ("value_float = 1.5", 1.5),
        ("value_floats = [1.0, 2.0]", [1, 2]),
    ],
)
def test_constant_nodes_become_initializers(attribute: str, value: Any) -> None:
    body = f"k = Constant <{attribute}> () y = Mul(x, k)"
    after, _ = check_pass(FoldConstants(), graph(body, "float[2] x", "float[2] y"))
    assert ops(after) == ["Mul"]
    assert constant_of(after, "k").tolist() == value


def test_weights_that_take_the_same_room_are_folded() -> None:
    after, _ = check_pass(
        FoldConstants(), graph("t = Transpose(w) y = MatMul(x, t)", "float[2,64] x", "float[2,64] y", w=weight(64, 64))
    )
    assert ops(after) == ["MatMul"]
    np.testing.assert_array_equal(constant_of(after, "t"), weight(64, 64).T)


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (
            "k = Expand(one, shape) y = Add(x, k)",
            "float[100,100] y",
            "the result would add 39,980 bytes (`max-growth` is 1,024)",
        ),
        ("k = Neg(one) y = Add(x, k)", "float[1,1] y, float[1] k", "`k` is an output of the graph"),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    model = graph(body, "float[1,1] x", outputs, one=np.ones(1, np.float32), shape=np.array([100, 100]))
    _, result = check_pass(FoldConstants(), model)
    assert missed(result) == [reason]
    assert not result.changed


def test_growth_that_shows_only_when_computed() -> None:
    body = "n = Neg(minus) k = Expand(one, n) y = Add(x, k)"
    model = graph(body, "float[1] x", "float[D] y", one=np.ones(1, np.float32), minus=np.array([-1000]))
    model.graph.nodes[1].outputs[0].shape = None
    after, result = check_pass(FoldConstants(), model)
    assert ops(after) == ["Expand", "Add"]
    assert missed(result) == ["the result would add 3,988 bytes (`max-growth` is 1,024)"]


def test_max_growth_is_an_option() -> None:
    model = graph(
        "k = Expand(one, s) y = Add(x, k)", "float[1] x", "float[D] y", one=np.ones(1, np.float32), s=np.array([1000])
    )
    assert ops(check_pass(FoldConstants(max_growth=4000), model)[0]) == ["Add"]


def test_a_weight_that_others_read_is_not_freed() -> None:
    body = "t = Transpose(w) a = MatMul(x, t) y = MatMul(a, w)"
    after, result = check_pass(FoldConstants(), graph(body, "float[2,32] x", "float[2,32] y", w=weight(32, 32)))
    assert "Transpose" in ops(after)
    assert missed(result) == ["the result would add 4,096 bytes (`max-growth` is 1,024)"]


@pytest.mark.parametrize(
    "body",
    [
        "k = RandomNormal <shape = [2]> () z = Sub(k, k) y = Add(x, z)",
        "k = DequantizeLinear(q, scale) y = Add(x, k)",
        "f = QuantizeLinear(two, scale) k = DequantizeLinear(f, scale) y = Add(x, k)",
        "a, m = Dropout(two, scale, on) z = Sub(a, a) y = Add(x, z)",
    ],
)
def test_leaves_random_and_quantized_values_alone(body: str) -> None:
    weights = {"q": np.array([1, 2], np.int8), "scale": np.float32(0.5), "two": weight(2), "on": np.array(True)}
    _, result = check_pass(FoldConstants(), graph(body, "float[2] x", "float[2] y", **weights))
    assert not result.changed
    assert missed(result) == []


def test_one_bad_node_costs_no_more_than_itself() -> None:
    body = "bad = Reshape(k, wrong) good = Neg(k) a = Add(x, good) b = Reshape(bad, minus) y = Add(a, b)"
    model = graph(body, "float[2] x", "float[2] y", k=weight(2), wrong=np.array([3, 3]), minus=np.array([-1]))
    result = FoldConstants().run(model, None)  # type: ignore[arg-type]
    assert ops(model) == ["Reshape", "Add", "Reshape", "Add"]
    assert result.counts == {"nodes folded": 1}
    assert len(missed(result)) == 1 and missed(result)[0].startswith("ONNX Runtime cannot compute it: ")


def test_strings_are_left_alone() -> None:
    body = 's = Constant <value_strings = ["a", "b"]> () e = Equal(s, s) c = Cast <to: int = 1> (e) y = Add(x, c)'
    model = graph(body, "float[2] x", "float[2] y")
    assert not FoldConstants().run(model, None).changed  # type: ignore[arg-type]


IF = """g (bool p, float[4] x) => (float[4] r) {{
    k = Constant <value = float[1] {{3}}> ()
    {outer}
    r = If (p) <
        then_branch = t () => (float[4] y) {{ {then} }},
        else_branch = e () => (float[4] z) {{ z = Neg(x) }}
    >
}}"""
FEEDS = {"p": np.array(True), "x": weight(4)}


def test_folds_inside_of_sub_graphs() -> None:
    model = model_from(IF.format(outer="", then="n = Neg(k) s = Shape(x) e = Expand(n, s) y = Add(x, e)"))
    after, result = check_pass(FoldConstants(), model, feeds=FEEDS)
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Add"]
    assert result.counts == {"Constant nodes inlined": 1, "shapes folded": 1, "nodes folded": 2}


def test_a_large_constant_that_sub_graphs_read_stays_where_it_is() -> None:
    values = ", ".join(["1"] * 40)
    text = IF.format(
        outer=f"big = Constant <value = float[40] {{{values}}}> ()", then="m = ReduceMax(big) y = Add(x, m)"
    )
    after, result = check_pass(FoldConstants(), model_from(text), feeds=FEEDS)
    assert ops(after) == ["Constant", "If"]
    assert missed(result) == ["a sub-graph reads `big` and would store a copy of 160 bytes"]


def test_control_flow_is_a_barrier() -> None:
    model = model_from(IF.format(outer="", then="y = Add(x, k)").replace("(p) <", "(yes) <"), yes=np.array(True))
    after, _ = check_pass(FoldConstants(), model, feeds=FEEDS)
    assert ops(after) == ["If"]
