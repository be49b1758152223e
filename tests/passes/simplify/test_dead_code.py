"""Removing what nothing reads, and nodes that only hand a tensor on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.passes.simplify.dead_code import DeadCode
from pruna_ir.testing import check_pass, missed, ops


def test_removes_what_nothing_reads() -> None:
    text = "g (float[2] x) => (float[2] y) { a = Log(x) b = Exp(a) y = Relu(x) c = Add(b, a) }"
    after, result = check_pass(DeadCode(), model_from(text))
    assert ops(after) == ["Relu"]
    assert result.counts == {"nodes removed": 3}


def test_keeps_a_node_of_which_one_output_is_read() -> None:
    text = "g (float[4] x) => (float[2] y) { y, unused = Split(x, sizes) }"
    after, _ = check_pass(DeadCode(), model_from(text, sizes=np.array([2, 2])))
    assert ops(after) == ["Split"]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Relu(x) b = Identity(a) y = Exp(b)", ["Relu", "Exp"]),
        ("a = Relu(x) y = Identity(a)", ["Relu"]),
        ("a = Identity(x) b = Identity(a) y = Exp(b)", ["Exp"]),
        ("a = Relu(x) b = Identity(a) c = Neg(a) y = Add(b, c)", ["Relu", "Neg", "Add"]),
        ("a = Relu(x) y = Identity(a) c = Neg(a)", ["Relu"]),
        ("a = Relu(x) b = Dropout(a) y = Exp(b)", ["Relu", "Exp"]),
        ("a = Relu(x) b, mask = Dropout(a, ratio, off) y = Exp(b)", ["Relu", "Exp"]),
        ("a = Relu(x) y = Dropout(a, ratio)", ["Relu"]),
    ],
)
def test_bypasses(body: str, left: list[str]) -> None:
    model = model_from(f"g (float[3] x) => (float[3] y) {{ {body} }}", ratio=np.float32(0.5), off=np.array(False))
    after, _ = check_pass(DeadCode(), model)
    assert ops(after) == left
    assert after.graph.outputs[0].name == "y"


@pytest.mark.parametrize(
    ("outputs", "body", "reason"),
    [
        ("float[3] y", "y = Identity(x)", "the output `y` is the input `x`"),
        ("float[3] y, float[3] z", "y = Relu(x) z = Identity(y)", "`y` and `z` are both outputs of the graph"),
        ("float[3] y, float[3] z", "y = Relu(x) z = Identity(k)", "the output `z` is the constant `k`"),
    ],
)
def test_keeps_what_names_an_output(outputs: str, body: str, reason: str) -> None:
    after, result = check_pass(DeadCode(), model_from(f"g (float[3] x) => ({outputs}) {{ {body} }}", k=weight(3)))
    assert missed(result) == [reason]
    assert "Identity" in ops(after)


def test_keeps_dropout_in_training_mode_or_with_a_mask() -> None:
    text = "g (float[3] x) => (float[3] y, bool[3] m) { a = Relu(x) b, m = Dropout(a) y = Exp(b) }"
    assert "Dropout" in ops(check_pass(DeadCode(), model_from(text))[0])
    text = "g (float[3] x, bool t) => (float[3] y) { a = Relu(x) y = Dropout(a, ratio, t) }"
    model = model_from(text, ratio=np.float32(0.5))
    feeds = {"x": weight(3), "t": np.array(False)}
    assert "Dropout" in ops(check_pass(DeadCode(), model, feeds=feeds)[0])


def test_other_domains_are_left_alone() -> None:
    model = model_from("g (float[3] x) => (float[3] y) { a = Relu(x) b = Identity(a) y = Exp(b) }")
    model.graph.nodes[1].domain = "com.example"
    assert DeadCode().run(model, None).changed is False  # type: ignore[arg-type]


IF = """g (bool p, float[3] x) => (float[3] r) {{
    a = Relu(x)
    unused = Exp(x)
    inner = Neg(x)
    r = If (p) <
        then_branch = t () => (float[3] y) {{ {then} }},
        else_branch = e () => (float[3] z) {{ z = Abs(a) }}
    >
}}"""


def test_cleans_sub_graphs_and_what_only_their_dead_nodes_read() -> None:
    model = model_from(IF.format(then="d = Exp(inner) b = Identity(a) c = Relu(b) y = Identity(c)"))
    after, result = check_pass(DeadCode(), model, feeds={"p": np.array(True), "x": weight(3)})
    assert ops(after) == ["Relu", "If"]
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Relu"]
    assert result.counts == {"nodes removed": 3, "Identity bypassed": 2}


def test_keeps_the_identity_that_hands_an_outer_tensor_on() -> None:
    model = model_from(IF.format(then="y = Identity(a)"))
    after, result = check_pass(DeadCode(), model, feeds={"p": np.array(True), "x": weight(3)})
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Identity"]
    assert missed(result) == []


def test_removes_dead_control_flow_with_what_it_read() -> None:
    text = IF.format(then="y = Exp(inner)").replace("(float[3] r) {", "(float[3] out) { out = Tanh(x)")
    after, _ = check_pass(DeadCode(), model_from(text))
    assert ops(after) == ["Tanh"]


def test_long_chains_take_no_recursion() -> None:
    chain = " ".join(f"a{i} = Identity(a{i - 1})" for i in range(1, 3000))
    after, _ = check_pass(
        DeadCode(), model_from(f"g (float[3] x) => (float[3] y) {{ a0 = Relu(x) {chain} y = Neg(a2999) }}")
    )
    assert ops(after) == ["Relu", "Neg"]


LSTM = "LSTM <hidden_size = 2> (x, w, r)"


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (f"y, h, c = {LSTM}", ["y"]),
        (f"a, h, c = {LSTM} y = Unsqueeze(h, k)", ["", "h"]),
        (f"a, h, c = {LSTM} d = Add(h, c) y = Unsqueeze(d, k)", ["", "h", "c"]),
    ],
)
def test_optional_outputs_that_nothing_reads(body: str, written: list[str]) -> None:
    constants: dict[str, Any] = {"w": weight(1, 8, 3), "r": weight(1, 8, 2), "k": np.array([0])}
    text = f"g (float[1,2,3] x) => (float z) {{ {body} z = ReduceSum(y) }}"
    after, _ = check_pass(DeadCode(), model_from(text, **constants))
    assert [tensor.name for tensor in after.graph.nodes[0].outputs] == written


def test_outputs_that_must_be_there_stay() -> None:
    text = "g (float[4] x) => (float[2] y) { y, unused = TopK(x, k) }"
    after, _ = check_pass(DeadCode(), model_from(text, k=np.array([2])))
    assert len(after.graph.nodes[0].outputs) == 2


def test_optional_outputs_of_the_graph_stay() -> None:
    text = "g (float[1,1,4] x) => (float[1,1,3] y, int64[1,1,3] i) { y, i = MaxPool <kernel_shape = [2]> (x) }"
    assert not check_pass(DeadCode(), model_from(text))[1].changed
