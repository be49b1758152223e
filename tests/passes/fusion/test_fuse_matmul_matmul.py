"""MatMul -> MatMul, or Gemm -> Gemm, with constant weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_matmul_matmul import FuseMatmulMatmul
from pruna_ir.testing import check_pass, missed, ops, run_pass

TURNED = "Gemm <transB: int = 1>"


def products(body: str, outputs: str = "float[m,4] y", inputs: str = "float[5,6] x", **changes: Any) -> Model:
    weights = {
        "w": weight(6, 9),
        "v": weight(9, 4),
        "wt": weight(9, 6),
        "vt": weight(4, 9),
        "a": weight(9),
        "b": weight(4),
    }
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **{**weights, **changes})


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("t = MatMul(x, w) y = MatMul(t, v)", "MatMul"),
        ("t = MatMul(x, w) y = Gemm(t, v, b)", "Gemm"),
        ("t = Gemm(x, w, a) y = Gemm(t, v, b)", "Gemm"),
        ("t = Gemm(x, w, a) y = Gemm <beta: float = 0.5> (t, v, b)", "Gemm"),
        (f"t = {TURNED} (x, wt, a) y = {TURNED} (t, vt)", "Gemm"),
        (f"t = {TURNED} (x, wt) y = MatMul(t, v)", "MatMul"),
    ],
)
def test_fires(body: str, left: str) -> None:
    after, result = check_pass(FuseMatmulMatmul(), products(body))
    assert ops(after) == [left]
    assert result.counts == {"fuse-matmul-matmul": 1}


def test_any_rank_of_matmuls() -> None:
    case = products("t = MatMul(x, w) y = MatMul(t, v)", "float[N,3,5,4] y", "float[N,3,5,6] x")
    assert ops(check_pass(FuseMatmulMatmul(), case)[0]) == ["MatMul"]


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        ("t = MatMul(x, w) y = MatMul(t, v)", {"outputs": "float[m,4] y, float[m,9] t"},
         "`t` is an output of the graph"),
        ("t = MatMul(x, w) y = MatMul(t, v) z = Neg(t)", {"outputs": "float[m,4] y, float[m,9] z"}, "`t` has 2 users"),
        ("t = MatMul(x, w) y = MatMul(t, v) z = Neg(w)", {"outputs": "float[m,4] y, float[m,9] z"}, "`w` has 2 users"),
        ("t = Gemm(x, w, a) y = MatMul(t, v)", {}, "`t` has a bias, and `y` takes none"),
        ("t = Gemm <alpha: float = 0.5> (x, w) y = MatMul(t, v)", {}, "`t` transposes or scales its input"),
        ("t = Gemm(x, w, full) y = Gemm(t, v)", {"full": weight(5, 9)},
         "the bias `full` of shape [5, 9] is not one value per column"),
        ("t = MatMul(x, w) y = MatMul(t, v)", {"w": weight(6, 2), "v": weight(2, 4)},
         "the joint weight [6, 4] would be larger than (6, 2) and (2, 4)"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    _, result = check_pass(FuseMatmulMatmul(), products(body, **changes))
    assert missed(result) == [reason]
    assert not result.changed


@pytest.mark.parametrize(
    "body", ["t = MatMul(x, w) r = Relu(t) y = MatMul(r, v)", "u = Neg(w) t = MatMul(x, u) y = MatMul(t, v)"]
)
def test_no_match(body: str) -> None:
    _, result = check_pass(FuseMatmulMatmul(), products(body))
    assert missed(result) == []
    assert not result.changed


def test_overflow() -> None:
    large: dict[str, Any] = {"w": np.full((6, 9), 1e30, np.float32), "v": np.full((9, 4), 1e30, np.float32)}
    result = run_pass(FuseMatmulMatmul(), products("t = MatMul(x, w) y = MatMul(t, v)", **large))
    assert missed(result) == ["the fused weight would not be finite in float32"]


def test_inside_of_a_sub_graph() -> None:
    text = """y = If (p) <
        then_branch = f () => (float[5,4] r) { t = MatMul(x, w) r = MatMul(t, v) },
        else_branch = e () => (float[5,4] s) { u = MatMul(x, wo) s = Neg(u) }
    >"""
    case = products(text, "float[5,4] y", "float[5,6] x, bool p", wo=weight(6, 4))
    after, _ = check_pass(FuseMatmulMatmul(), case, feeds={"p": np.array(True), "x": weight(5, 6)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["MatMul"]


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.booleans()] * 4), st.integers(13, 24))
def test_any_sizes(sizes: tuple[int, int, int], forms: tuple[bool, bool, bool, bool], opset: int) -> None:
    rows, middle, columns = sizes
    biased, also_biased, turned, also_turned = forms
    one = f"Gemm <transB: int = {int(turned)}> (x, w{', a' if biased else ''})"
    other = f"Gemm <transB: int = {int(also_turned)}> (t, v{', b' if also_biased else ''})"
    weights: dict[str, Any] = {
        "w": weight(*((middle, rows) if turned else (rows, middle))),
        "v": weight(*((columns, middle) if also_turned else (middle, columns)), seed=1),
        "a": weight(middle), "b": weight(columns),
    }  # fmt: skip
    text = f"g (float[3,{rows}] x) => (float[3,{columns}] y) {{ t = {one} y = {other} }}"
    after, result = check_pass(FuseMatmulMatmul(), model_from(text, opset=opset, **weights))
    assert result.changed == (rows * columns <= middle * (rows + columns))
    assert len(ops(after)) == 2 - result.changed
