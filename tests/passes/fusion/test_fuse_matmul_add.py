"""MatMul -> Add with a constant vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_matmul_add import FuseMatmulAdd
from pruna_ir.testing import check_pass, missed, ops


def linear(
    body: str = "m = MatMul(x, w) y = Add(m, b)",
    inputs: str = "float[5,4] x",
    outputs: str = "float[5,3] y",
    **weights: Any,
) -> Model:
    given: dict[str, Any] = {"w": weight(4, 3), "b": weight(3, seed=1), **weights}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **given)


@pytest.mark.parametrize("addition", ["Add(m, b)", "Add(b, m)"])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (1,), ()])
def test_fires(addition: str, shape: tuple[int, ...]) -> None:
    after, result = check_pass(FuseMatmulAdd(), linear(f"m = MatMul(x, w) y = {addition}", b=weight(*shape, seed=1)))
    assert ops(after) == ["Gemm"]
    assert result.counts == {"fuse-matmul-add": 1}
    assert [tensor.name for tensor in after.graph.nodes[0].inputs] == ["x", "w", "b"]


def test_keeps_the_order_of_nodes() -> None:
    body = "m = MatMul(x, w) r = Relu(x) a = Add(m, b) s = MatMul(r, w) y = Add(a, s)"
    after, _ = check_pass(FuseMatmulAdd(), linear(body))
    assert ops(after) == ["Relu", "Gemm", "MatMul", "Add"]


def test_symbolic_rows_and_float16() -> None:
    text = "g (float16[N,4] x) => (float16[N,3] y) { m = MatMul(x, w) y = Add(m, b) }"
    model = model_from(text, w=weight(4, 3, dtype="float16"), b=weight(3, dtype="float16"))
    after, _ = check_pass(FuseMatmulAdd(), model, tolerance=5e-3)
    assert ops(after) == ["Gemm"]


def test_name_of_the_addition_stays() -> None:
    model = linear()
    model.graph.nodes[1].name = "dense"
    after, _ = check_pass(FuseMatmulAdd(), model)
    assert after.graph.nodes[0].name == "dense"


@pytest.mark.parametrize(
    ("body", "inputs", "outputs", "reason"),
    [
        ("m = MatMul(x, w) y = Add(m, b)", "float[2,5,4] x", "float[2,5,3] y", "`x` has 3 dimensions, Gemm takes 2"),
        ("m = MatMul(x, w) y = Add(m, b)", "float[4] x", "float[3] y", "`x` has 1 dimensions, Gemm takes 2"),
        (
            "m = MatMul(x, w) y = Add(m, b)",
            "float[5,4] x",
            "float[5,3] y, float[5,3] m",
            "`m` is an output of the graph",
        ),
        ("m = MatMul(x, w) y = Add(m, b) z = Neg(m)", "float[5,4] x", "float[5,3] y, float[5,3] z", "`m` has 2 users"),
    ],
)
def test_does_not_fire(body: str, inputs: str, outputs: str, reason: str) -> None:
    after, result = check_pass(FuseMatmulAdd(), linear(body, inputs, outputs))
    assert missed(result) == [reason]
    assert "MatMul" in ops(after)


def test_weight_is_a_stack_of_matrices() -> None:
    _, result = check_pass(FuseMatmulAdd(), linear(outputs="float[2,5,3] y", w=weight(2, 4, 3)))
    assert missed(result) == ["the weight `w` has 3 dimensions, Gemm takes 2"]


def test_bias_varies_over_rows() -> None:
    _, result = check_pass(FuseMatmulAdd(), linear(b=weight(5, 3)))
    assert missed(result) == ["the bias `b` of shape [5, 3] is not one value per column"]


def test_integers() -> None:
    text = "g (int32[5,4] x) => (int32[5,3] y) { m = MatMul(x, w) y = Add(m, b) }"
    _, result = check_pass(FuseMatmulAdd(), model_from(text, w=np.ones((4, 3), np.int32), b=np.ones(3, np.int32)))
    assert missed(result) == ["`w` holds int32, not floats that NumPy knows"]


def test_quantized_weight() -> None:
    body = "v = DequantizeLinear(q, s) m = MatMul(x, v) y = Add(m, b)"
    _, result = check_pass(FuseMatmulAdd(), linear(body, q=np.ones((4, 3), np.int8), s=np.float32(0.5)))
    assert missed(result) == ["`v` is quantized: fusing would lose its scale"]


def test_rank_that_is_not_known() -> None:
    model = linear("t = Reshape(x, s) m = MatMul(t, w) y = Add(m, b)", "float[5,4] x, int64[D] s", "float[5,3] y")
    _, result = check_pass(FuseMatmulAdd(), model, feeds={"x": weight(5, 4), "s": np.array([5, 4])})
    assert missed(result) == ["the rank of `t` is not known, Gemm takes 2 dimensions"]


@pytest.mark.parametrize("body", ["m = MatMul(x, x2) y = Add(m, b)", "m = MatMul(x, w) y = Add(m, r)"])
def test_no_match(body: str) -> None:
    model = linear(body, "float[5,4] x, float[4,3] x2, float[5,3] r")
    _, result = check_pass(FuseMatmulAdd(), model)
    assert missed(result) == []


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[5,4] x) => (float[5,3] r) {
        r = If (p) <
            then_branch = t () => (float[5,3] y) { m = MatMul(x, w) y = Add(m, b) },
            else_branch = e () => (float[5,3] z) { z = MatMul(x, w) }
        >
    }"""
    model = model_from(text, w=weight(4, 3), b=weight(3))
    after, _ = check_pass(FuseMatmulAdd(), model, feeds={"p": np.array(True), "x": weight(5, 4)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Gemm"]
