"""Mul or Div by a scalar, some linear nodes after the weights that can take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fold_scale import FoldScale
from pruna_ir.testing import check_pass, missed, ops

HEADS = "r = Reshape(m, heads) t = Transpose <perm: ints = [0, 2, 1, 3]> (r)"


def model(body: str, outputs: str = "float[a,b,c,d] y", inputs: str = "float[2,5,8] x", **changes: Any) -> Model:
    constants: dict[str, Any] = {
        "w": weight(8, 12), "b": weight(12), "s": np.float32(0.3), "heads": np.array([2, 5, 3, 4]),
        "f": weight(4, 8, 1), "g": weight(4), "b1": weight(1), "b2": weight(12, seed=2) + 4,
        "s411": weight(4, 1, 1) + 4, "s121": weight(12, 1) + 4, "s1211": weight(12, 1, 1) + 4,
    }  # fmt: skip
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **{**constants, **changes})


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s)", ["MatMul", "Reshape", "Transpose"]),
        (f"p = MatMul(x, w) m = Add(b, p) {HEADS} y = Div(t, s)", ["MatMul", "Add", "Reshape", "Transpose"]),
        (f"p = MatMul(x, w) m = Sub(b, p) {HEADS} y = Mul(s, t)", ["MatMul", "Sub", "Reshape", "Transpose"]),
        (f"p = MatMul(x, w) m = Add(p, b) {HEADS} n = Softmax(z) q = MatMul(t, n) y = Mul(q, s)",
         ["MatMul", "Add", "Reshape", "Transpose", "Softmax", "MatMul"]),
        (f"p = MatMul(x, w) m = Add(p, b) {HEADS} n = Softmax(u) q = MatMul(n, t) y = Mul(q, s)",
         ["MatMul", "Add", "Reshape", "Transpose", "Softmax", "MatMul"]),
        ("r = Transpose <perm: ints = [0, 2, 1]> (x) c = Conv(r, f, g) h = Transpose <perm: ints = [1, 0, 2]> (c) "
         "y = Mul(h, s)", ["Conv", "Transpose", "Transpose"]),
        ("r = Transpose <perm: ints = [0, 2, 1]> (x) c = Conv(r, f, g) h = Transpose <perm: ints = [1, 0, 2]> (c) "
         "y = Mul(h, s411)", ["Conv", "Transpose", "Transpose"]),
        ("p = MatMul(x, w) m = Add(p, b) y = Mul(m, b2)", ["MatMul", "Add"]),
        ("p = MatMul(x, w) m = Add(p, b1) h = Transpose <perm: ints = [0, 2, 1]> (m) y = Div(h, s121)",
         ["MatMul", "Add", "Transpose"]),
        ("p = MatMul(x, w) h = Transpose <perm: ints = [2, 0, 1]> (p) m = Sub(b1, h) y = Mul(s1211, m)",
         ["MatMul", "Transpose", "Sub"]),
    ],
)  # fmt: skip
def test_fires(body: str, left: list[str]) -> None:
    inputs = "float[2,5,8] x, float[2,3,4,5] z, float[2,3,6,5] u"
    outputs = "float[a,b,c,d] y" if "heads" in body else "float[a,b,c] y"
    after, result = check_pass(FoldScale(), model(body, outputs, inputs))
    assert sorted(ops(after)) == sorted(left)
    assert result.counts == {"fold-scale": 1}


@pytest.mark.parametrize("scale", ["s", "s411"])
def test_one_part_of_a_split(scale: str) -> None:
    body = f"""p = MatMul(x, wide) m = Add(p, b24) r = Reshape(m, heads6)
        t = Transpose <perm: ints = [0, 2, 1, 3]> (r) q, k, v = Split <axis: int = 1> (t, parts) y = Mul(q, {scale})"""
    changes: dict[str, Any] = {
        "wide": weight(8, 24), "b24": weight(24), "heads6": np.array([0, 0, 6, 4]), "parts": np.array([2, 3, 1]),
        "s411": weight(2, 1, 1) + 4,
    }  # fmt: skip
    outputs = "float[a,b,c,d] y, float[e,f,g,h] k, float[i,j,l,o] v"
    after, _ = check_pass(FoldScale(), model(body, outputs, "float[N,L,8] x", **changes))
    assert ops(after) == ["MatMul", "Add", "Reshape", "Transpose", "Split"]
    changed = after.graph.nodes[0].inputs[1].values / changes["wide"]
    assert (changed[:, 8:] == 1).all()


def test_another_product_with_constants_takes_it() -> None:
    body = "m = Softmax(x) n = Mul(m, row) r = Reshape(n, flat) y = Mul(r, s)"
    after, _ = check_pass(FoldScale(), model(body, "float[80] y", row=weight(8), flat=np.array([80])))
    assert ops(after) == ["Softmax", "Mul", "Reshape"]


@pytest.mark.parametrize(
    ("body", "outputs", "changes", "reason"),
    [
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s)", "float[a,b,c,d] y, float[2,5,3,4] r", {},
         "`r` is an output of the graph"),
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s) z = Neg(m)", "float[a,b,c,d] y, float[2,5,12] z", {},
         "`m` has 2 users"),
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s) z = Neg(w)", "float[a,b,c,d] y, float[8,12] z", {},
         "`w` has 2 users"),
        (f"p = MatMul(x, w) m = Relu(p) {HEADS} y = Mul(t, s)", "float[a,b,c,d] y", {},
         "`m` is not computed from weights by linear nodes alone"),
        (f"p = MatMul(x, w) m = Add(p, p) {HEADS} y = Mul(t, s)", "float[a,b,c,d] y", {},
         "`m` adds two tensors that are computed"),
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s)", "float[a,b,c,d] y", {"s": np.float32(0)},
         "`s` is zero or extreme"),
        (f"m = MatMul(x, w) {HEADS} y = Mul(t, s)", "float[a,b,c,d,e] y", {"s": np.ones((1,) * 5, np.float32)},
         "`s` may add dimensions to `t`"),
        (f"m = MatMul(x, n) {HEADS} y = Mul(t, s)", "float[a,b,c,d] y", {},
         "`x` is not computed from weights by linear nodes alone"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, changes: dict[str, Any], reason: str) -> None:
    inputs = "float[2,5,8] x, float[8,12] v" if "n)" in body else "float[2,5,8] x"
    body = f"n = Neg(v) {body}" if "n)" in body else body
    _, result = check_pass(FoldScale(), model(body, outputs, inputs, **changes))
    assert not result.changed
    assert len(missed(result)) == 1
    assert missed(result) == [reason] or "n)" in body


def test_float16_is_left_alone() -> None:
    changes: dict[str, Any] = {"w": weight(8, 12, dtype="float16"), "s": np.float16(0.3)}
    case = model(f"m = MatMul(x, w) {HEADS} y = Mul(t, s)", "float16[a,b,c,d] y", "float16[2,5,8] x", **changes)
    _, result = check_pass(FoldScale(), case)
    assert missed(result) == ["`w` is float16, where a product loses precision"]


@pytest.mark.parametrize("body", ["y = Mul(x, s)", "m = Relu(x) y = Mul(m, s)", "m = MatMul(x, w) y = Div(s, m)",
                                  "c = Conv(z, f) y = Mul(c, s)"])  # fmt: skip
def test_no_match(body: str) -> None:
    _, result = check_pass(FoldScale(), model(body, "float[a,b,c] y", "float[2,5,8] x, float[2,8,3] z"))
    assert missed(result) == []
    assert not result.changed


def test_inside_of_a_sub_graph() -> None:
    body = """m = MatMul(x, w) y = If (p) <
        then_branch = f () => (float[2,5,12] q) { q = Mul(m, s) },
        else_branch = e () => (float[2,5,12] u) { n = MatMul(x, v) u = Mul(n, s) }
    >"""
    case = model(body, "float[2,5,12] y", "float[2,5,8] x, bool p", v=weight(8, 12, seed=1))
    feeds = {"p": np.array(False), "x": weight(2, 5, 8)}
    after, result = check_pass(FoldScale(), case, feeds=feeds)
    assert [node.op for node in after.graph.nodes[-1].attrs["else_branch"].nodes] == ["MatMul"]
    assert missed(result) == ["`m` is computed outside of the sub-graph that reads it"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("m = MatMul(x, w) y = Mul(m, s51)", "`w` is no weight of the axis that is scaled"),
        ("m = MatMul(x, w) r = Reshape(m, wide) y = Mul(r, s6)", "`r` moves the axis that is scaled"),
        ("t = Transpose(x) n = Reshape(t, square) m = Gemm(n, w) y = Mul(m, s101)",
         "`m` has no weight of the axis that is scaled"),
        ("m = MatMul(x, w) y = Mul(m, s55)", "`s55` of shape [5, 12] is not one value per index of an axis"),
        ("m = MatMul(x, w) a = Add(m, s55) y = Mul(a, b2)", None),
    ],
)  # fmt: skip
def test_one_value_per_index(body: str, reason: str | None) -> None:
    changes: dict[str, Any] = {
        "s51": weight(5, 1) + 4, "s6": weight(6) + 4, "wide": np.array([2, 10, 6]), "square": np.array([10, 8]),
        "s101": weight(10, 1) + 4, "s55": weight(5, 12) + 4,
    }  # fmt: skip
    outputs = "float[a,b] y" if "Gemm" in body else "float[a,b,c] y"
    _, result = check_pass(FoldScale(), model(body, outputs, **changes))
    assert missed(result) == ([] if reason is None else [reason])
    assert result.changed == (reason is None)


@settings(max_examples=25, deadline=None)
@given(st.floats(2**-16, 2**16), st.booleans(), st.sampled_from(["Mul", "Div"]), st.integers(13, 24))
def test_any_scale(scale: float, negative: bool, op: str, opset: int) -> None:
    text = f"g (float[2,8] x) => (float[12,2] y) {{ m = MatMul(x, w) n = Add(m, b) t = Transpose(n) y = {op}(t, s) }}"
    value = np.float32(-scale if negative else scale)
    case = model_from(text, opset=opset, w=weight(8, 12), b=weight(12), s=value)
    assert ops(check_pass(FoldScale(), case)[0]) == ["MatMul", "Add", "Transpose"]
