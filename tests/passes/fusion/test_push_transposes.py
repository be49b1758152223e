"""Transpose -> elementwise nodes -> the Transpose back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.push_transposes import PushTransposes
from pruna_ir.testing import check_pass, missed, ops

TO, BACK = "Transpose <perm: ints = [0, 2, 3, 1]>", "Transpose <perm: ints = [0, 3, 1, 2]>"
SHAPE = "float[2,3,4,5]"


def between(body: str, outputs: str = f"{SHAPE} y", **weights: Any) -> Model:
    text = f"g ({SHAPE} x, {SHAPE} v) => ({outputs}) {{ t = {TO} (x) {body} y = {BACK} (z) }}"
    return model_from(text, **weights)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("z = Relu(t)", ["Relu"]),
        ("s = Sigmoid(t) z = Mul(s, t)", ["Sigmoid", "Mul"]),
        ("z = Clip(t, low, k1)", ["Clip"]),
        ("z = Mul(t, k1)", ["Mul"]),
        ("z = Add(k3, t)", ["Add"]),
        ("z = PRelu(t, k3)", ["PRelu"]),
        ("z = Sub(t, k45)", ["Sub"]),
        (f"w = {TO} (v) a = Neg(w) z = Add(a, t)", ["Neg", "Add"]),
        ("c = Greater(t, k3) z = Where(c, t, k3)", ["Greater", "Where"]),
    ],
)
def test_fires(body: str, left: list[str]) -> None:
    model = between(body, low=np.float32(0), k1=positive(1), k3=weight(3), k45=weight(4, 5, 1))
    after, result = check_pass(PushTransposes(), model, tolerance=0)
    assert ops(after) == left
    assert result.counts == {"push-transposes": 1}
    assert after.graph.nodes[0].outputs[0].shape == [2, 3, 4, 5]


def test_symbolic_sizes_and_float16() -> None:
    text = f"g (float16[N,3,H,W] x) => (float16[N,3,H,W] y) {{ t = {TO} (x) z = Mul(t, k) y = {BACK} (z) }}"
    after, _ = check_pass(PushTransposes(), model_from(text, k=weight(3, dtype="float16")), tolerance=0)
    assert ops(after) == ["Mul"]
    assert after.graph.nodes[0].inputs[1].shape == (1, 3, 1, 1)


def test_first_stays_for_others() -> None:
    after, _ = check_pass(
        PushTransposes(), between("z = Relu(t) u = Neg(t)", f"{SHAPE} y, float[2,4,5,3] u"), tolerance=0
    )
    assert sorted(ops(after)) == ["Neg", "Relu", "Transpose"]


def test_shared_constant_is_copied() -> None:
    model = between("z = Mul(t, k) u = Add(t, k)", f"{SHAPE} y, float[2,4,5,3] u", k=weight(3))
    after, _ = check_pass(PushTransposes(), model, tolerance=0)
    assert {tuple(node.inputs[1].shape) for node in after.graph.nodes if len(node.inputs) > 1} == {(3,), (1, 3, 1, 1)}


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("z = Relu(t)", f"{SHAPE} y, float[2,4,5,3] z", "`z` is an output of the graph"),
        ("r = Abs(t) z = Relu(r) u = Neg(r)", f"{SHAPE} y, float[2,4,5,3] u", "`r` is read by `u` too"),
        ("z = Add(t, q)", f"{SHAPE} y", "`q` is not transposed by an order that [0, 3, 1, 2] undoes"),
        ("z = Mul(t, big) u = Neg(big)", f"{SHAPE} y, float[4,5,3] u", None),
        ("z = Mul(t, large) u = Neg(large)", f"{SHAPE} y, float[8,4,5,3] u",
         "`large` has other users, and would be stored twice"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, reason: str | None) -> None:
    inputs, outputs = "float[8,3,4,5] x, float[8,4,5,3] q", outputs.replace("[2,", "[8,")
    text = f"g ({inputs}) => ({outputs}) {{ t = {TO} (x) {body} y = {BACK} (z) }}"
    _, result = check_pass(
        PushTransposes(), model_from(text, big=weight(4, 5, 3), large=weight(8, 4, 5, 3)), tolerance=0
    )
    assert missed(result) == ([] if reason is None else [reason])
    assert result.changed == (reason is None)


def test_operand_of_lower_rank() -> None:
    _, result = check_pass(PushTransposes(), between("n = Neg(k) z = Mul(t, n)", k=weight(3)))
    assert missed(result) == ["`n` is not transposed by an order that [0, 3, 1, 2] undoes"]


def test_orders_that_do_not_cancel() -> None:
    text = f"g ({SHAPE} x) => (float[A,B,C,D] y) {{ t = {TO} (x) z = Relu(t) y = {TO} (z) }}"
    _, result = check_pass(PushTransposes(), model_from(text))
    assert not result.changed
    assert missed(result) == []


def test_more_nodes_than_the_walk_takes() -> None:
    chain = ["z0 = Relu(t)", *(f"z{place} = Add(z{place - 1}, t)" for place in range(1, 40))]
    _, result = check_pass(PushTransposes(), between(" ".join([*chain, "z = Neg(z39)"])))
    assert missed(result) == ["more than 32 nodes stand between the Transposes"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, {SHAPE} x) => ({SHAPE} r) {{
        o = {TO} (x)
        n = Neg(o)
        r = If (p) <
            then_branch = t () => ({SHAPE} y) {{ a = Relu(o) y = {BACK} (a) }},
            else_branch = e () => ({SHAPE} z) {{ z = {BACK} (n) }}
        >
    }}"""
    feeds = {"p": np.array(True), "x": weight(2, 3, 4, 5)}
    after, result = check_pass(PushTransposes(), model_from(text), feeds=feeds)
    assert [node.op for node in after.graph.nodes[-1].attrs["then_branch"].nodes] == ["Relu"]
    assert missed(result) == ["`n` is computed outside of the sub-graph that reads it"]


@st.composite
def regions(draw: st.DrawFn) -> tuple[Model, dict[str, np.ndarray]]:
    """Elementwise nodes over two transposed inputs and constants that broadcast, some of them watched."""
    order = draw(st.permutations(range(3)))
    inverse = [order.index(axis) for axis in range(3)]
    to, back = (f"Transpose <perm: ints = {list(axes)}>" for axes in (order, inverse))
    inner = [(2, 3, 4)[axis] for axis in order]
    lines, weights, tensors = [f"t0 = {to} (x)", f"t1 = {to} (v)"], {}, ["t0", "t1"]
    for place in range(2, draw(st.integers(3, 6))):
        left = draw(st.sampled_from(tensors))
        kind = draw(st.sampled_from(["Tanh", "Add", "Mul", "Sub", "constant"]))
        if kind == "Tanh":
            lines.append(f"t{place} = Tanh({left})")
        elif kind == "constant":
            shape = [size if draw(st.booleans()) else 1 for size in inner][draw(st.integers(0, 3)) :]
            weights[f"k{place}"] = weight(*shape, seed=place)
            lines.append(f"t{place} = Mul({left}, k{place})")
        else:
            lines.append(f"t{place} = {kind}({left}, {draw(st.sampled_from(tensors))})")
        tensors.append(f"t{place}")
    watched = draw(st.sampled_from(tensors))
    text = f"""g (float[2,3,4] x, float[2,3,4] v) => (float[2,3,4] y, float{inner} u)
        {{ {" ".join(lines)} y = {back} ({tensors[-1]}) u = Neg({watched}) }}"""
    feeds = {"x": weight(2, 3, 4), "v": weight(2, 3, 4, seed=1)}
    return model_from(text, opset=draw(st.integers(13, 23)), **weights), feeds


@settings(max_examples=40, deadline=None)
@given(regions())
def test_random_regions(case: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, feeds = case
    after, result = check_pass(PushTransposes(), model, feeds=feeds, tolerance=0)
    assert result.changed == (len(ops(after)) < len(ops(model)))
