"""Reshapes around nodes that work on the trailing axes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.push_reshapes import PushReshapes
from pruna_ir.testing import check_pass, missed, ops

SHAPE = "float[2,3,4] x"


def between(body: str, outputs: str = "float[2,3,n] y", inputs: str = SHAPE, **weights: Any) -> Model:
    """A body that makes `z` of `t`, the matrix form of `x`, and goes back to three axes."""
    weights = {"flat": np.array([6, 4]), "back": np.array([2, 3, -1]), **weights}
    text = f"g ({inputs}) => ({outputs}) {{ t = Reshape(x, flat) {body} y = Reshape(z, back) }}"
    return model_from(text, **weights)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("z = Relu(t)", ["Relu"]),
        ("s = Sigmoid(t) z = Mul(s, t)", ["Sigmoid", "Mul"]),
        ("z = Softmax <axis: int = 1> (t)", ["Softmax"]),
        ("z = Add(t, k4)", ["Add"]),
        ("z = Add(k14, t)", ["Add"]),
        ("z = Mul(t, k64)", ["Mul"]),
        ("z = MatMul(t, w)", ["MatMul"]),
        ("z = Gemm(t, w)", ["MatMul"]),
        ("z = ReduceMean <axes: ints = [-1]> (t)", ["ReduceMean"]),
        ("z = LayerNormalization(t, k4, k4)", ["LayerNormalization"]),
        ("z = Concat <axis: int = 1> (t, k64, t)", ["Concat"]),
        ("z = Slice(t, one, two, one)", ["Slice"]),
        ("z = Pad(t, pads)", ["Pad"]),
        ("z = Gather <axis: int = 1> (t, two)", ["Gather"]),
    ],
)
def test_fires(body: str, left: list[str]) -> None:
    model = between(
        body,
        k4=positive(4),
        k14=weight(1, 4),
        k64=weight(6, 4),
        w=weight(4, 5),
        one=np.array([1]),
        two=np.array([2]),
        pads=np.array([0, 1, 0, 2]),
    )
    after, result = check_pass(PushReshapes(), model)
    assert ops(after) == left
    assert result.counts == {"push-reshapes": 1}


def test_gemm_with_bias_costs_an_add() -> None:
    model = between("z = Gemm <transB: int = 1> (t, w, b)", w=weight(5, 4), b=weight(5))
    after, _ = check_pass(PushReshapes(), model)
    assert ops(after) == ["MatMul", "Add"]
    assert after.graph.nodes[0].inputs[1].shape == (4, 5)


def test_two_gemms_would_cost_as_much() -> None:
    model = between("g1 = Gemm(t, w, b) z = Gemm(g1, w, b)", w=weight(4, 4), b=weight(4))
    _, result = check_pass(PushReshapes(), model)
    assert missed(result) == ["2 conversions would go and 2 nodes come"] * 2


def test_attention_of_one_head() -> None:
    text = """g (float[1,9,8] q, float[1,9,8] k, float[1,9,8] v) => (float[1,9,8] y) {
        a = Squeeze(q, zero)
        b = Reshape(k, four)
        c = Transpose <perm: ints = [0, 1, 3, 2]> (b)
        d = Reshape(c, two)
        s = MatMul(a, d)
        t = Mul(s, scale)
        u = Reshape(t, scores)
        p = Softmax(u)
        w = Reshape(p, weights)
        e = Reshape(v, three)
        o = MatMul(w, e)
        y = Unsqueeze(o, zero)
    }"""
    shapes: dict[str, Any] = {
        "zero": [0], "four": [1, 1, 9, 8], "two": [8, 9], "scores": [1, 1, 9, 9], "weights": [9, 9], "three": [9, 8],
    }  # fmt: skip
    constants: dict[str, Any] = {name: np.array(shape, np.int64) for name, shape in shapes.items()}
    after, _ = check_pass(PushReshapes(), model_from(text, **constants, scale=np.float32(0.5)))
    assert ops(after) == ["Transpose", "MatMul", "Mul", "Softmax", "MatMul"]
    assert after.graph.nodes[0].attrs["perm"] == [0, 2, 1]


def test_transposes_of_unit_axes_are_reshapes() -> None:
    to = "Transpose <perm: ints = [1, 0, 2]>"
    text = f"g (float[7,1,4] x) => (float[7,1,5] y) {{ t = {to} (x) z = MatMul(t, w) y = {to} (z) }}"
    assert ops(check_pass(PushReshapes(), model_from(text, w=weight(4, 5)))[0]) == ["MatMul"]


def test_output_inside_gets_the_only_reshape() -> None:
    model = between("s = Relu(t) z = Neg(s)", "float[2,3,4] y, float[6,4] s")
    after, _ = check_pass(PushReshapes(), model)
    assert ops(after) == ["Relu", "Reshape", "Neg"]
    assert [tensor.inputs[0].op for tensor in after.graph.outputs] == ["Neg", "Reshape"]


def test_operand_in_the_old_shape_gets_the_only_reshape() -> None:
    after, _ = check_pass(PushReshapes(), between("z = Add(t, q)", inputs=f"float[6,4] q, {SHAPE}"))
    assert ops(after) == ["Reshape", "Add"]


def test_first_reshape_takes_the_other_shape() -> None:
    text = "g (float16[2,3,4] x) => (float16[24] y) { t = Flatten <axis: int = 0> (x) z = Relu(t) y = Reshape(z, all) }"
    after, _ = check_pass(PushReshapes(), model_from(text, all=np.array([24])))
    assert ops(after) == ["Reshape", "Relu"]


@pytest.mark.parametrize(
    "body",
    [
        "z = Softmax <axis: int = 0> (t)",
        "z = ReduceMean <axes: ints = [0], keepdims: int = 0> (t)",
        "z = Gemm <alpha: float = 0.5> (t, w)",
        "z = Gemm(t, w, k65)",
        "z = MatMul(w6, t)",
        "z = CumSum(t, one)",
        "z = Slice(t, one, two)",
        "z = Pad(t, pads)",
    ],
)
def test_looks_at_the_leading_axes(body: str) -> None:
    whole = not any(name in body for name in ("Slice", "Pad", "axes"))
    model = between(
        body,
        "float[a,b,c] y",
        k65=weight(6, 5),
        w=weight(4, 5),
        w6=weight(6, 6),
        one=np.array(1) if "CumSum" in body else np.array([0]),
        two=np.array([3]),
        pads=np.array([3, 0, 3, 0]),
        back=np.array([2, 3, -1] if whole else [-1, 2, 2]),
    )
    _, result = check_pass(PushReshapes(), model)
    assert not result.changed


def test_unknown_sizes_stay() -> None:
    text = "g (float[N,3,4] x) => (float[a,b,c] y) { t = Reshape(x, flat) z = Relu(t) y = Reshape(z, back) }"
    model = model_from(text, flat=np.array([-1, 4]), back=np.array([-1, 3, 4]))
    _, result = check_pass(PushReshapes(), model)
    assert not result.changed


def test_large_shared_weight_is_not_stored_twice() -> None:
    model = between(
        "u = Gemm <transB: int = 1> (t, w) z = Relu(u) v = Transpose(w)",
        "float[2,3,n] y, float[4,100] v",
        w=weight(100, 4),
    )
    _, result = check_pass(PushReshapes(), model)
    assert missed(result) == ["`w` has other users, and would be stored twice"] * 2


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, {SHAPE}) => (float[2,3,4] r) {{
        t = Reshape(x, flat)
        r = If (p) <
            then_branch = a () => (float[2,3,4] y) {{ z = Relu(t) y = Reshape(z, back) }},
            else_branch = b () => (float[2,3,4] w) {{ u = Neg(t) w = Reshape(u, back) }}
        >
    }}"""
    model = model_from(text, flat=np.array([6, 4]), back=np.array([2, 3, 4]))
    after, _ = check_pass(PushReshapes(), model, feeds={"p": np.array(True), "x": weight(2, 3, 4)})
    branches = [after.graph.nodes[-1].attrs[name] for name in ("then_branch", "else_branch")]
    assert [[node.op for node in branch.nodes] for branch in branches] == [["Relu"], ["Neg"]]


@st.composite
def regions(draw: st.DrawFn) -> tuple[Model, dict[str, np.ndarray]]:
    """Nodes over two reshaped inputs and constants, in surroundings that read some of what is between."""
    outer = draw(st.sampled_from([[2, 3], [6], [1, 6], [3, 1, 2]]))
    inner = draw(st.sampled_from([[6], [3, 2], [1, 2, 3], [6, 1]]))
    lines, weights, tensors = ["t0 = Reshape(x, inner)", "t1 = Reshape(v, inner)"], {}, ["t0", "t1"]
    for place in range(2, draw(st.integers(3, 6))):
        one, other = draw(st.sampled_from(tensors)), draw(st.sampled_from(tensors))
        kind = draw(st.sampled_from(["Tanh", "Add", "Mul", "Softmax", "MatMul", "constant"]))
        if kind == "MatMul":
            weights[f"k{place}"] = weight(4, 4, seed=place) / 2
        elif kind == "constant":
            full = [size if draw(st.booleans()) else 1 for size in [*inner, 4]]
            weights[f"k{place}"] = weight(*full[draw(st.integers(0, len(full))) :], seed=place)
        right = {"Tanh": "", "Softmax": "", "constant": f", k{place}", "MatMul": f", k{place}"}.get(kind, f", {other}")
        lines.append(f"t{place} = {'Mul' if kind == 'constant' else kind}({one}{right})")
        tensors.append(f"t{place}")
    watched = draw(st.sampled_from(tensors))
    sizes = ",".join(map(str, [*outer, 4]))
    text = f"""g (float[{sizes}] x, float[{sizes}] v) => (float[{sizes}] y, float[{",".join(map(str, [*inner, 4]))}] u)
        {{ {" ".join(lines)} y = Reshape({tensors[-1]}, outer) u = Neg({watched}) }}"""
    shapes = {"outer": np.array([*outer, 4]), "inner": np.array([*inner, 4])}
    feeds = {"x": weight(*outer, 4), "v": weight(*outer, 4, seed=1)}
    return model_from(text, opset=draw(st.integers(13, 23)), **weights, **shapes), feeds


@settings(max_examples=40, deadline=None)
@given(regions())
def test_random_regions(case: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, feeds = case
    after, result = check_pass(PushReshapes(), model, feeds=feeds)
    assert len(ops(after)) <= len(ops(model)) - result.changed
