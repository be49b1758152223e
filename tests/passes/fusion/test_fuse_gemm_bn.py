"""Gemm or MatMul -> BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_gemm_bn import FuseGemmBn
from pruna_ir.testing import check_pass, missed, ops, run_pass

NORM = "y = BatchNormalization(g, gamma, beta, mean, variance)"
BODY = f"g = Gemm(x, w, b) {NORM}"
OUTPUT = "float[5,4] y"


def statistics(channels: int = 4, dtype: str = "float32") -> dict[str, Any]:
    names = ("gamma", "beta", "mean")
    drawn: dict[str, Any] = {name: weight(channels, seed=seed, dtype=dtype) for seed, name in enumerate(names, 1)}
    return {**drawn, "variance": positive(channels, seed=4, dtype=dtype)}


def linear(body: str = BODY, outputs: str = OUTPUT, inputs: str = "float[5,3] x", **extra: Any) -> Model:
    weights = {"w": weight(3, 4), "b": weight(4, seed=5), **statistics(), **extra}
    return model_from(f"f ({inputs}) => ({outputs}) {{ {body} }}", **weights)


@pytest.mark.parametrize("product", ["Gemm(x, w, b)", "Gemm(x, w)", "MatMul(x, w)"])
def test_fires(product: str) -> None:
    after, result = check_pass(FuseGemmBn(), linear(f"g = {product} {NORM}"))
    assert ops(after) == ["Gemm"]
    assert result.counts == {"fuse-gemm-bn": 1}


def test_result_is_the_formula() -> None:
    after, _ = check_pass(FuseGemmBn(), linear())
    given = {name: values.astype(np.float64) for name, values in statistics().items()}
    scale = given["gamma"] / np.sqrt(given["variance"] + 1e-5)
    _, w, b = after.graph.nodes[0].inputs
    assert (w.name, b.name) == ("w", "b")
    np.testing.assert_allclose(w.values, weight(3, 4) * scale, rtol=1e-6)
    np.testing.assert_allclose(b.values, (weight(4, seed=5) - given["mean"]) * scale + given["beta"], rtol=1e-5)


def test_chain_of_two() -> None:
    body = f"{BODY.replace('y =', 'h =')} {NORM.replace('(g,', '(h,')}"
    after, result = check_pass(FuseGemmBn(), linear(body))
    assert ops(after) == ["Gemm"]
    assert result.counts == {"fuse-gemm-bn": 2}


def test_float16() -> None:
    weights = {"w": weight(3, 4, dtype="float16"), "b": weight(4, dtype="float16"), **statistics(dtype="float16")}
    model = linear(outputs="float16[N,4] y", inputs="float16[N,3] x", **weights)
    after, _ = check_pass(FuseGemmBn(), model, tolerance=5e-3)
    assert {tensor.dtype for tensor in after.graph.nodes[0].inputs[1:]} == {np.dtype(np.float16)}


def test_shared_weight_and_bias_are_copied() -> None:
    after, _ = check_pass(FuseGemmBn(), linear(f"{BODY} z = Gemm(x, w, b)", f"{OUTPUT}, float[5,4] z"))
    other = next(node for node in after.graph.nodes if node.outputs[0].name == "z")
    np.testing.assert_array_equal(other.inputs[1].values, weight(3, 4))
    np.testing.assert_array_equal(other.inputs[2].values, weight(4, seed=5))


QUANTIZED = {"q": np.ones((3, 4), np.int8), "s": np.float32(0.5)}


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (BODY, {"outputs": f"{OUTPUT}, float[5,4] g"}, "`g` is an output of the graph"),
        (f"{BODY} z = Relu(g)", {"outputs": f"{OUTPUT}, float[5,4] z"}, "`g` has 2 users"),
        (f"v = Neg(w) g = Gemm(x, v) {NORM}", {}, "`v` is not a constant"),
        (f"d = Neg(b) g = Gemm(x, w, d) {NORM}", {}, "`d` is not a constant"),
        (f"m = Neg(mean) {BODY.replace('mean', 'm')}", {}, "`m` is not a constant"),
        (
            f"v = DequantizeLinear(q, s) g = MatMul(x, v) {NORM}",
            QUANTIZED,
            "`v` is quantized: fusing would lose its scale",
        ),
        (
            f"g = MatMul(x, w) {NORM}",
            {"inputs": "float[2,4,3] x", "outputs": "float[2,4,4] y"},
            "`x` is not known to be a matrix",
        ),
        (BODY, {"b": weight(5, 1)}, "the bias `b` of shape [5, 1] is not one value per column"),
        (
            BODY.replace("y = BatchNormalization", "y, m2, v2 = BatchNormalization <training_mode: int = 1>"),
            {},
            "`y` is in training mode",
        ),
    ],
)
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    _, result = check_pass(FuseGemmBn(), linear(body, **changes))
    assert missed(result) == [reason]
    assert not result.changed


def test_overflow() -> None:
    model = linear(gamma=np.full(4, 1e30, np.float32), w=weight(3, 4) * np.float32(1e9))
    assert missed(run_pass(FuseGemmBn(), model)) == ["the fused weight would not be finite in float32"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ {BODY} }},
        else_branch = e () => (float[5,4] z) {{ z = Gemm(x, w, b) }}
    >"""
    model = linear(text, "float[5,4] r", "bool p, float[5,3] x")
    after, _ = check_pass(FuseGemmBn(), model, feeds={"p": np.array(True), "x": weight(5, 3)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Gemm"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_gemm(data: st.DataObject) -> None:
    rows, depth, columns = (data.draw(st.integers(3, 6), what) for what in ("rows", "depth", "columns"))
    trans_a, trans_b = (data.draw(st.integers(0, 1), what) for what in ("transA", "transB"))
    alpha, beta = (data.draw(st.sampled_from([0.5, 1.0, 2.0]), what) for what in ("alpha", "beta"))
    shape = data.draw(st.sampled_from([None, (), (1,), (columns,), (1, columns)]), "bias")
    attributes = f"transA: int = {trans_a}, transB: int = {trans_b}, alpha: float = {alpha}, beta: float = {beta}"
    bias: dict[str, Any] = {} if shape is None else {"b": weight(*shape, seed=5)}
    body = f"g = Gemm <{attributes}> (x, w{', b' if bias else ''}) {NORM}"
    image = f"{depth},{rows}" if trans_a else f"{rows},{depth}"
    model = model_from(
        f"f (float[{image}] x) => (float[{rows},{columns}] y) {{ {body} }}",
        opset=data.draw(st.integers(13, 24), "opset"),
        w=weight(columns, depth) if trans_b else weight(depth, columns),
        **bias,
        **statistics(columns),
    )
    after, _ = check_pass(FuseGemmBn(), model)
    assert ops(after) == ["Gemm"]
