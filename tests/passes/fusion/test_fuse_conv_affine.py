"""Conv -> Mul, Add, Sub or Div with a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_conv_affine import FuseConvAffine
from pruna_ir.testing import check_pass, missed, ops, run_pass

OUTPUT = "float[1,4,6,6] y"


def conv_and(body: str, outputs: str = OUTPUT, **weights: Any) -> Model:
    return model_from(f"g (float[1,3,8,8] x) => ({outputs}) {{ {body} }}", w=weight(4, 3, 3, 3), **weights)


@pytest.mark.parametrize(
    "operation", ["Mul(c, k)", "Mul(k, c)", "Add(c, k)", "Add(k, c)", "Sub(c, k)", "Sub(k, c)", "Div(c, k)"]
)
@pytest.mark.parametrize("shape", [(), (1,), (4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("conv", ["Conv(x, w)", "Conv(x, w, b)"])
def test_fires(operation: str, shape: tuple[int, ...], conv: str) -> None:
    weights: dict[str, Any] = {"k": positive(*shape, seed=1)}
    if "b" in conv:
        weights["b"] = weight(4, seed=2)
    after, result = check_pass(FuseConvAffine(), conv_and(f"c = {conv} y = {operation}", **weights))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-conv-affine": 1}


def test_chain_of_all() -> None:
    body = "c = Conv(x, w) d = Mul(c, k) e = Add(d, k) f = Div(e, k) y = Sub(k, f)"
    after, result = check_pass(FuseConvAffine(), conv_and(body, k=positive(4, 1, 1)))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-conv-affine": 4}


def test_sum_leaves_the_weight_alone() -> None:
    model = conv_and("c = Conv(x, w) y = Add(c, k) z = Conv(x, w)", f"{OUTPUT}, float[1,4,6,6] z", k=positive(4, 1, 1))
    after, _ = check_pass(FuseConvAffine(), model)
    first, second = after.graph.nodes
    assert first.inputs[1] is second.inputs[1]


def test_bias_omitted_by_an_empty_name() -> None:
    after, _ = check_pass(FuseConvAffine(), conv_and('c = Conv(x, w, "") y = Add(c, k)', k=positive(4, 1, 1)))
    assert ops(after) == ["Conv"]


def test_float16() -> None:
    text = "g (float16[1,3,8,8] x) => (float16[1,4,6,6] y) { c = Conv(x, w) y = Mul(c, k) }"
    model = model_from(text, w=weight(4, 3, 3, 3, dtype="float16"), k=positive(4, 1, 1, dtype="float16"))
    after, _ = check_pass(FuseConvAffine(), model, tolerance=5e-3)
    assert after.graph.nodes[0].inputs[1].dtype == np.float16


@pytest.mark.parametrize(
    ("body", "outputs", "shape", "reason"),
    [
        ("c = Conv(x, w) y = Mul(c, k)", f"{OUTPUT}, float[1,4,6,6] c", (1,), "`c` is an output of the graph"),
        ("c = Conv(x, w) y = Mul(c, k) z = Relu(c)", f"{OUTPUT}, float[1,4,6,6] z", (1,), "`c` has 2 users"),
        ("v = Neg(w) c = Conv(x, v) y = Mul(c, k)", OUTPUT, (1,), "`v` is not a constant"),
        (
            "c = Conv(x, w) y = Mul(c, k)",
            OUTPUT,
            (6,),
            "`k` of shape (6,) is neither a scalar nor one value per channel",
        ),
        (
            "c = Conv(x, w) y = Add(c, k)",
            OUTPUT,
            (1, 4, 6, 6),
            "`k` of shape (1, 4, 6, 6) is neither a scalar nor one value per channel",
        ),
        (
            "c = Conv(x, w) y = Add(c, k)",
            "float[1,1,4,6,6] y",
            (1, 1, 1, 1, 1),
            "`k` of shape (1, 1, 1, 1, 1) is neither a scalar nor one value per channel",
        ),
    ],
)
def test_does_not_fire(body: str, outputs: str, shape: tuple[int, ...], reason: str) -> None:
    after, result = check_pass(FuseConvAffine(), conv_and(body, outputs, k=positive(*shape)))
    assert missed(result) == [reason]
    assert not result.changed
    assert "Conv" in ops(after)


def test_one_channel_must_not_become_several() -> None:
    text = "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { c = Conv(x, w) y = Mul(c, k) }"
    _, result = check_pass(FuseConvAffine(), model_from(text, w=weight(1, 3, 3, 3), k=positive(4, 1, 1)))
    assert missed(result) == ["`k` of shape (4, 1, 1) is neither a scalar nor one value per channel"]


def test_zero_divisor() -> None:
    result = run_pass(FuseConvAffine(), conv_and("c = Conv(x, w) y = Div(c, k)", k=np.zeros((4, 1, 1), np.float32)))
    assert missed(result) == ["the fused weight would not be finite in float32"]


def test_quantized_operand() -> None:
    body = "c = Conv(x, w) k = DequantizeLinear(q, s) y = Mul(c, k)"
    _, result = check_pass(FuseConvAffine(), conv_and(body, q=np.array([3], np.int8), s=np.float32(0.5)))
    assert missed(result) == ["`k` is quantized: fusing would lose its scale"]


@pytest.mark.parametrize("operation", ["Div(k, c)", "Add(c, x4)", "Add(c, c)"])
def test_no_match(operation: str) -> None:
    text = f"g (float[1,3,8,8] x, float[1,4,6,6] x4) => ({OUTPUT}) {{ c = Conv(x, w) y = {operation} }}"
    _, result = check_pass(FuseConvAffine(), model_from(text, w=weight(4, 3, 3, 3), k=positive(4, 1, 1)))
    assert missed(result) == []
    assert not result.changed


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[1,3,8,8] x) => (float[1,4,6,6] r) {{
        r = If (p) <
            then_branch = t () => ({OUTPUT}) {{ c = Conv(x, w) y = Mul(c, k) }},
            else_branch = e () => (float[1,4,6,6] z) {{ z = Conv(x, w) }}
        >
    }}"""
    model = model_from(text, w=weight(4, 3, 3, 3), k=positive(4, 1, 1))
    after, result = check_pass(FuseConvAffine(), model, feeds={"p": np.array(True), "x": weight(1, 3, 8, 8)})
    assert result.counts == {"fuse-conv-affine": 1}
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Conv"]


def test_conv_outside_of_the_sub_graph_stays() -> None:
    text = f"""g (bool p, float[1,3,8,8] x) => (float[1,4,6,6] r) {{
        c = Conv(x, w)
        r = If (p) <
            then_branch = t () => ({OUTPUT}) {{ y = Mul(c, k) }},
            else_branch = e () => (float[1,4,6,6] z) {{ z = Identity(zero) }}
        >
    }}"""
    model = model_from(text, w=weight(4, 3, 3, 3), k=positive(4, 1, 1), zero=weight(1, 4, 6, 6))
    after, result = check_pass(FuseConvAffine(), model, feeds={"p": np.array(True), "x": weight(1, 3, 8, 8)})
    assert ops(after) == ["Conv", "If"]
    assert missed(result) == ["`c` is computed outside of the sub-graph that reads it"]
