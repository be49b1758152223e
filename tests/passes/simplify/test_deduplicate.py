"""Storing and computing the same thing once."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.simplify.deduplicate import Deduplicate
from pruna_ir.testing import check_pass, ops


def constants(model: Model) -> set[str]:
    return {name for name, tensor in model.graph.tensors().items() if isinstance(tensor, gs.Constant)}


def test_shares_equal_constants() -> None:
    text = "g (float[8] x) => (float[8] y) { c = Mul(x, a) d = Add(c, b) y = Sub(d, o) }"
    after, result = check_pass(Deduplicate(), model_from(text, a=weight(8), b=weight(8), o=weight(8, seed=1)))
    assert constants(after) == {"a", "o"}
    assert result.counts == {"constants shared": 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros(4, np.float32), np.zeros((4, 1), np.float32)),
        (np.zeros(4, np.float32), -np.zeros(4, np.float32)),
        (np.zeros(4, np.float32), np.array([0, 0, 0, 1], np.float32)),
        (np.zeros((2000, 4), np.float32), np.append(np.zeros((1999, 4)), np.ones((1, 4)), 0).astype(np.float32)),
    ],
)
def test_keeps_constants_that_differ(first: np.ndarray, second: np.ndarray) -> None:
    model = model_from("g (float[4] x) => (float[N,4] y) { b = Add(x, f) y = Mul(b, s) }", f=first, s=second)
    _, result = check_pass(Deduplicate(), model)
    assert result.counts == {}


def test_keeps_types_apart() -> None:
    text = "g (float[4] x) => (float[4] y, int32[4] z) { y = Add(x, f) c = Cast <to: int = 6> (x) z = Add(c, i) }"
    model = model_from(text, f=np.zeros(4, np.float32), i=np.zeros(4, np.int32))
    assert not check_pass(Deduplicate(), model)[1].changed


def test_merges_equal_nodes_to_any_depth() -> None:
    text = """g (float[3] x) => (float[3] y) {
        a = Sigmoid(x) b = Sigmoid(x)
        c = Mul(a, x) d = Mul(b, x)
        e = LeakyRelu <alpha: float = 0.1> (c) f = LeakyRelu <alpha: float = 0.1> (d)
        y = Add(e, f)
    }"""
    after, result = check_pass(Deduplicate(), model_from(text))
    assert ops(after) == ["Sigmoid", "Mul", "LeakyRelu", "Add"]
    assert result.counts == {"nodes merged": 3}


@pytest.mark.parametrize(
    "body",
    [
        "a = Mul(x, k) b = Mul(k, x) y = Add(a, b)",
        "a = Sum(x, k) b = Sum(k, x) y = Add(a, b)",
        "a = Elu <alpha = 1.0> (x) b = Elu(x) y = Add(a, b)",
        "a = Clip(x, o) b = Clip(x, o, ) y = Add(a, b)",
        "a = Softmax(x) b = Softmax <axis = -1> (x) y = Add(a, b)",
    ],
)
def test_merges_what_is_written_otherwise(body: str) -> None:
    model = model_from(f"g (float[3] x) => (float[3] y) {{ {body} }}", k=weight(3), o=np.float32(0))
    after, result = check_pass(Deduplicate(), model, tolerance=0)
    assert result.counts == {"nodes merged": 1}
    assert ops(after)[1:] == ["Add"]


def test_attributes_whose_default_depends_on_the_rank() -> None:
    written = '<strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], auto_pad = "NOTSET", group = 1>'
    body = f"a = Conv(x, w) b = Conv {written} (x, w) c = Conv <pads = [0, 0, 0, 1]> (x, w) d = Add(a, b)"
    text = f"g (float[1,2,5,5] x) => (float[1,3,3,7] y) {{ {body} y = Concat <axis = 3> (d, c) }}"
    after, _ = check_pass(Deduplicate(), model_from(text, w=weight(3, 2, 3, 3)))
    assert ops(after) == ["Conv", "Conv", "Add", "Concat"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Max(x, k) b = Max(k, x) y = Add(a, b)",
        "a = Sum(x, k, o) b = Sum(o, x, k) y = Add(a, b)",
        "a = LeakyRelu <alpha: float = 0.1> (x) b = LeakyRelu <alpha: float = 0.2> (x) y = Add(a, b)",
        "a = Sub(x, k) b = Sub(k, x) y = Add(a, b)",
        "a = Exp(x) b = Log(x) y = Add(a, b)",
        "a = RandomUniformLike(x) b = RandomUniformLike(x) z = Sub(a, b) y = Mul(z, o)",
    ],
)
def test_keeps_nodes_that_differ(body: str) -> None:
    model = model_from(f"g (float[3] x) => (float[3] y) {{ {body} }}", k=weight(3), o=np.zeros(3, np.float32))
    feeds = {"x": np.abs(weight(3)) + 1}
    _, result = check_pass(Deduplicate(), model, feeds=feeds)
    assert result.counts == {}


def test_names_of_outputs_stay() -> None:
    text = "g (float[3] x) => (float[3] y, float[3] z) { a = Relu(x) y = Relu(x) b = Exp(a) z = Exp(y) }"
    after, result = check_pass(Deduplicate(), model_from(text))
    assert ops(after) == ["Relu", "Exp"]
    assert [tensor.name for tensor in after.graph.outputs] == ["y", "z"]
    assert result.counts == {"nodes merged": 2}


def test_two_outputs_stay_two() -> None:
    text = "g (float[3] x) => (float[3] y, float[3] z) { y = Relu(x) z = Relu(x) }"
    assert not check_pass(Deduplicate(), model_from(text))[1].changed


def test_nodes_of_several_outputs() -> None:
    text = """g (float[4] x) => (float[2] y) {
        a, b = Split(x, sizes) c, d = Split(x, sizes) e = Add(a, c) f = Add(b, d) y = Mul(e, f)
    }"""
    after, _ = check_pass(Deduplicate(), model_from(text, sizes=np.array([2, 2])))
    assert ops(after) == ["Split", "Add", "Add", "Mul"]


def test_quantization_stays_with_its_reader() -> None:
    body = "a = DequantizeLinear(q, s) b = DequantizeLinear(q, s) c = Add(x, a) y = Mul(c, b)"
    text = f"g (float[3] x) => (float[3] y) {{ {body} }}"
    model = model_from(text, q=np.array([1, 2, 3], np.int8), s=np.float32(0.5))
    assert not check_pass(Deduplicate(), model)[1].changed


def test_each_sub_graph_on_its_own() -> None:
    text = """g (bool p, float[3] x) => (float[3] r) {
        a = Exp(x)
        r = If (p) <
            then_branch = t () => (float[3] y) { b = Exp(x) c = Exp(x) d = Add(b, c) y = Mul(d, a) },
            else_branch = e () => (float[3] z) { z = Exp(x) }
        >
    }"""
    after, result = check_pass(Deduplicate(), model_from(text), feeds={"p": np.array(True), "x": weight(3)})
    assert result.counts == {"nodes merged": 1}
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Exp", "Add", "Mul"]


def test_control_flow_is_not_merged() -> None:
    branch = "If (p) < then_branch = t () => (float[3] {0}t) {{ {0}t = Exp(x) }}, "
    branch += "else_branch = e () => (float[3] {0}e) {{ {0}e = Neg(x) }} >"
    text = (
        f"g (bool p, float[3] x) => (float[3] y) {{ a = {branch.format('a')} b = {branch.format('b')} y = Add(a, b) }}"
    )
    assert not check_pass(Deduplicate(), model_from(text))[1].changed
