"""Transpose -> elementwise nodes -> the Transpose back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.push_transposes import PushTransposes
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


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 3)])
def test_vector_stays_one(shape: tuple[int, ...]) -> None:
    """ONNX Runtime makes a Gemm of a MatMul and an Add only where what is added is a vector."""
    swap = "Transpose <perm: ints = [1, 0, 2]>"
    text = f"g (float[4,5,3] x) => (float[4,5,3] y) {{ t = {swap} (x) z = Add(t, k) y = {swap} (z) }}"
    after, _ = check_pass(PushTransposes(), model_from(text, k=weight(*shape)), tolerance=0)
    assert ops(after) == ["Add"]
    assert after.graph.nodes[0].inputs[1].shape == (3,)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("c = Concat <axis: int = 3> (t, t, k) z = Neg(c)", ["Concat", "Neg"]),
        ("z = Softmax <axis: int = -1> (t)", ["Softmax"]),
        ("z = LogSoftmax <axis: int = 2> (t)", ["LogSoftmax"]),
        ("z = ReduceMean <axes: ints = [-3, 2]> (t)", ["ReduceMean"]),
        ("z = ReduceSum(t, i23)", ["ReduceSum"]),
        ("z = Slice(t, i23, i33, i23)", ["Slice"]),
        ("z = Slice(t, i0123, i5)", ["Slice"]),
        ("z = Pad(t, pads)", ["Pad"]),
        ("z = Resize(t, , scales)", ["Resize"]),
        ("z = Gather <axis: int = 3> (t, i23)", ["Gather"]),
        ("z = LpNormalization <axis: int = 3> (t)", ["LpNormalization"]),
        ("q = QuantizeLinear <axis: int = 3> (t, s3) z = DequantizeLinear <axis: int = 3> (q, s3)",
         ["QuantizeLinear", "DequantizeLinear"]),
        ("q = QuantizeLinear(t, s) z = DequantizeLinear(q, s)", ["QuantizeLinear", "DequantizeLinear"]),
    ],
)  # fmt: skip
def test_axes_move(body: str, left: list[str]) -> None:
    model = between(
        body,
        "float[a,b,c,d] y",
        k=weight(2, 4, 5, 1),
        pads=np.array([0, 1, 2, 0, 0, 0, 1, 3]),
        scales=np.array([1, 2, 3, 1], np.float32),
        i23=np.array([2, 1]),
        i33=np.array([3, 3]),
        i0123=np.array([0, 1, 2, 0]),
        i5=np.array([5, 5, 5, 5]),
        s=np.float32(0.1),
        s3=positive(3),
    )
    after, result = check_pass(PushTransposes(), model, tolerance=1e-6 if "Reduce" in body else 0)
    assert ops(after) == left
    assert result.counts == {"push-transposes": 1}


@pytest.mark.parametrize(
    "tail",
    [
        "ReduceMean <axes: ints = [1, 2], keepdims: int = 0> (t)",
        "ReduceSum <keepdims: int = 0> (t, i12)",
        "ArgMax <axis: int = 3, keepdims: int = 0> (t)",
        "Gather <axis: int = 3> (t, one)",
    ],
)
def test_the_axes_that_stay_are_in_order(tail: str) -> None:
    dtype = "int64" if "ArgMax" in tail else "float"
    text = f"g ({SHAPE} x) => ({dtype}[a,b] y) {{ t = {TO} (x) y = {tail} }}"
    if "ArgMax" in tail or "Gather" in tail:
        text = text.replace("[a,b]", "[a,b,c]")
    after, _ = check_pass(PushTransposes(), model_from(text, i12=np.array([1, 2]), one=np.array(1)))
    assert ops(after) == [tail.split()[0].split("(")[0]]


def test_the_axes_that_stay_would_change_places() -> None:
    tail = "ReduceMean <axes: ints = [0, 1], keepdims: int = 0> (t)"
    text = f"g ({SHAPE} x) => (float[a,b] y) {{ t = {TO} (x) y = {tail} }}"
    assert not check_pass(PushTransposes(), model_from(text))[1].changed


def test_split_between_transposes() -> None:
    body = f"a, b = Split <axis: int = 3> (t, parts) z = Relu(a) c = Neg(b) w = {BACK} (c)"
    model = between(body, f"{SHAPE.replace('3', '1')} y, {SHAPE.replace('3', '2')} w", parts=np.array([1, 2]))
    after, _ = check_pass(PushTransposes(), model, tolerance=0)
    assert sorted(ops(after)) == ["Neg", "Relu", "Split"]


def test_several_before_a_concat_become_one_behind() -> None:
    text = f"""g ({SHAPE} x, {SHAPE} v) => (float[2,8,5,3] y) {{
        a = {TO} (x) b = {TO} (v) y = Concat <axis: int = 1> (a, b) }}"""
    after, _ = check_pass(PushTransposes(), model_from(text), tolerance=0)
    assert ops(after) == ["Concat", "Transpose"]
    assert [tensor.name for tensor in after.graph.outputs] == ["y"]


def test_matrices_and_normalization_keep_the_last_axis() -> None:
    to = "Transpose <perm: ints = [1, 0, 2]>"
    text = f"""g (float[2,3,4] x) => (float[2,3,5] y) {{
        t = {to} (x) n = LayerNormalization(t, scale, bias) m = MatMul(n, w) a = Add(m, b) y = {to} (a) }}"""
    after, _ = check_pass(
        PushTransposes(), model_from(text, scale=positive(4), bias=weight(4), w=weight(4, 5), b=weight(5))
    )
    assert ops(after) == ["LayerNormalization", "MatMul", "Add"]


def test_output_inside_gets_the_only_transpose() -> None:
    after, _ = check_pass(PushTransposes(), between("z = Relu(t)", f"{SHAPE} y, float[2,4,5,3] z"), tolerance=0)
    assert ops(after) == ["Relu", "Transpose"]
    assert {tensor.name: tensor.inputs[0].op for tensor in after.graph.outputs} == {"y": "Relu", "z": "Transpose"}


def test_operand_in_the_old_layout_gets_the_only_transpose() -> None:
    text = f"g ({SHAPE} x, float[2,4,5,3] q) => ({SHAPE} y) {{ t = {TO} (x) z = Add(t, q) y = {BACK} (z) }}"
    after, _ = check_pass(PushTransposes(), model_from(text), tolerance=0)
    assert ops(after) == ["Transpose", "Add"]


def test_two_names_for_one_result() -> None:
    after, _ = check_pass(
        PushTransposes(), between(f"z = Relu(t) w = {BACK} (z)", f"{SHAPE} y, {SHAPE} w"), tolerance=0
    )
    assert [(node.op, node.attrs.get("perm")) for node in after.graph.nodes] == [
        ("Relu", None),
        ("Transpose", [0, 1, 2, 3]),
    ]


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (f"z = Relu(t) u = Neg(z) v1 = {TO} (x) w = Add(v1, u) h = Concat <axis: int = 0> (w, q)",
         f"{SHAPE} y, float[2,4,5,3] u, float[2,4,5,3] w, float[a,4,5,3] h, float[2,4,5,3] t",
         "2 conversions would go and 4 nodes come: `q` keeps its layout"),
        ("z = Mul(t, large) u = Neg(large)", f"{SHAPE} y, float[8,4,5,3] u",
         "`large` has other users, and would be stored twice"),
        ("z = Add(t, one) w = Add(z, q)", f"{SHAPE} y, float[8,4,5,3] w",
         "`q` is larger than what is transposed now"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    text = f"g ({SHAPE} x, float[2,4,5,3] q) => ({outputs}) {{ t = {TO} (x) {body} y = {BACK} (z) }}"
    if "large" in body:
        text = text.replace("[2,", "[8,")
    elif "one" in body:
        text = "g (float[2,3,1,1] x, float[2,4,5,3] q) => (float[2,3,1,1] y, float[2,3,1,1] y2, float[2,4,5,3] w)"
        text += f"{{ t = {TO} (x) z = Neg(t) w = Add(z, q) y = {BACK} (z) n = Abs(z) y2 = {BACK} (n) }}"
    _, result = check_pass(PushTransposes(), model_from(text, large=weight(8, 4, 5, 3)), tolerance=0)
    assert reason in missed(result)
    assert not result.changed


@pytest.mark.parametrize(
    "body", ["n = Neg(k) z = Mul(t, n)", "z = Expand(t, big)", "z = BatchNormalization(t, s, s, s, s)"]
)
def test_cannot_move(body: str) -> None:
    model = between(body, "float[a,b,c,d] y", k=weight(3), big=np.array([2, 4, 5, 3]), s=positive(4))
    _, result = check_pass(PushTransposes(), model)
    assert not result.changed


def test_orders_that_join() -> None:
    text = f"g ({SHAPE} x) => (float[A,B,C,D] y) {{ t = {TO} (x) z = Relu(t) y = {TO} (z) }}"
    after, _ = check_pass(PushTransposes(), model_from(text))
    assert ops(after) == ["Transpose", "Relu"]
    assert after.graph.nodes[0].attrs["perm"] == [0, 3, 1, 2]


def test_more_nodes_than_the_walk_takes() -> None:
    chain = ["z0 = Relu(t)", *(f"z{place} = Add(z{place - 1}, t)" for place in range(1, 300))]
    _, result = check_pass(PushTransposes(), between(" ".join([*chain, "z = Neg(z299)"])))
    assert set(missed(result)) == {"more than 256 nodes stand between the conversions"}


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
    after, _ = check_pass(PushTransposes(), model_from(text), feeds=feeds)
    assert [node.op for node in after.graph.nodes[-1].attrs["then_branch"].nodes] == ["Relu"]


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
