"""Conv -> BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_conv_bn import FuseConvBn
from pruna_ir.testing import check_pass, missed, ops, run_pass

BODY = "c = Conv(x, w) y = BatchNormalization(c, gamma, beta, mean, variance)"


def statistics(channels: int = 4, dtype: str = "float32") -> dict[str, Any]:
    return {
        "gamma": weight(channels, seed=1, dtype=dtype),
        "beta": weight(channels, seed=2, dtype=dtype),
        "mean": weight(channels, seed=3, dtype=dtype),
        "variance": positive(channels, seed=4, dtype=dtype),
    }


def conv_bn(body: str = BODY, outputs: str = "float[1,4,6,6] y", dtype: str = "float", **extra: Any) -> Model:
    kind = {"float": "float32", "float16": "float16"}[dtype]
    weights = {"w": weight(4, 3, 3, 3, dtype=kind), **statistics(dtype=kind), **extra}
    return model_from(f"g ({dtype}[1,3,8,8] x) => ({outputs}) {{ {body} }}", **weights)


def test_fires() -> None:
    after, result = check_pass(FuseConvBn(), conv_bn())
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-conv-bn": 1}
    conv = after.graph.nodes[0]
    assert [tensor.name for tensor in conv.inputs] == ["x", "w", "w_bias"]
    assert conv.outputs[0] is after.graph.outputs[0]


def test_result_is_the_formula() -> None:
    model = conv_bn(BODY.replace("Conv(x, w)", "Conv(x, w, b)"), b=weight(4, seed=5))
    values = {tensor.name: tensor.values.astype(np.float64) for node in model.graph.nodes for tensor in node.inputs[1:]}
    after, _ = check_pass(FuseConvBn(), model)
    scale = values["gamma"] / np.sqrt(values["variance"] + 1e-5)
    expected_weight = (values["w"] * scale[:, None, None, None]).astype(np.float32)
    expected_bias = ((values["b"] - values["mean"]) * scale + values["beta"]).astype(np.float32)
    _, w, b = after.graph.nodes[0].inputs
    np.testing.assert_array_equal(w.values, expected_weight)
    np.testing.assert_allclose(b.values, expected_bias, rtol=1e-6)


def test_epsilon_is_read() -> None:
    check_pass(
        FuseConvBn(), conv_bn(BODY.replace("BatchNormalization(", "BatchNormalization <epsilon: float = 0.5> ("))
    )


def test_float16() -> None:
    after, _ = check_pass(FuseConvBn(), conv_bn(dtype="float16", outputs="float16[1,4,6,6] y"), tolerance=5e-3)
    assert ops(after) == ["Conv"]
    assert {tensor.dtype for tensor in after.graph.nodes[0].inputs[1:]} == {np.dtype(np.float16)}


def test_grouped_and_one_dimensional() -> None:
    text = "g (float[1,4,9] x) => (float[1,4,7] y) { c = Conv <group: int = 4> (x, w) "
    text += "y = BatchNormalization(c, gamma, beta, mean, variance) }"
    after, _ = check_pass(FuseConvBn(), model_from(text, w=weight(4, 1, 3), **statistics()))
    assert ops(after) == ["Conv"]


def test_chain_of_two() -> None:
    body = "c = Conv(x, w) d = BatchNormalization(c, gamma, beta, mean, variance) "
    body += "y = BatchNormalization(d, gamma, beta, mean, variance)"
    after, result = check_pass(FuseConvBn(), conv_bn(body))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-conv-bn": 2}


def test_shared_weight_is_copied() -> None:
    body = "c = Conv(x, w) y = BatchNormalization(c, gamma, beta, mean, variance) z = Conv(x, w)"
    model = conv_bn(body, outputs="float[1,4,6,6] y, float[1,4,6,6] z")
    after, _ = check_pass(FuseConvBn(), model)
    fused, plain = after.graph.nodes
    assert plain.inputs[1].name == "w"
    assert fused.inputs[1].name != "w"
    np.testing.assert_array_equal(plain.inputs[1].values, weight(4, 3, 3, 3))


def test_output_of_conv_is_an_output() -> None:
    after, result = check_pass(FuseConvBn(), conv_bn(outputs="float[1,4,6,6] y, float[1,4,6,6] c"))
    assert ops(after) == ["Conv", "BatchNormalization"]
    assert missed(result) == ["`c` is an output of the graph"]


def test_several_users() -> None:
    model = conv_bn(BODY + " z = Relu(c)", outputs="float[1,4,6,6] y, float[1,4,6,6] z")
    _, result = check_pass(FuseConvBn(), model)
    assert missed(result) == ["`c` has 2 users"]


def test_weight_is_computed() -> None:
    _, result = check_pass(FuseConvBn(), conv_bn("v = Neg(w) " + BODY.replace("(x, w)", "(x, v)")))
    assert missed(result) == ["`v` is not a constant"]


def test_statistics_are_computed() -> None:
    _, result = check_pass(FuseConvBn(), conv_bn("m = Neg(mean) " + BODY.replace("mean", "m")))
    assert missed(result) == ["`m` is not a constant"]


def test_weight_is_quantized() -> None:
    body = "v = DequantizeLinear(q, scale) " + BODY.replace("(x, w)", "(x, v)")
    quantized = np.arange(108, dtype=np.int8).reshape(4, 3, 3, 3)
    _, result = check_pass(FuseConvBn(), conv_bn(body, q=quantized, scale=np.float32(0.1)))
    assert missed(result) == ["`v` is quantized: fusing would lose its scale"]


def test_training_mode() -> None:
    body = "c = Conv(x, w) "
    body += "y, m2, v2 = BatchNormalization <training_mode: int = 1> (c, gamma, beta, mean, variance)"
    _, result = check_pass(FuseConvBn(), conv_bn(body))
    assert missed(result) == ["`y` is in training mode"]


def test_overflow() -> None:
    model = conv_bn(gamma=np.full(4, 1e30, np.float32), w=weight(4, 3, 3, 3) * np.float32(1e9))
    result = run_pass(FuseConvBn(), model)
    assert missed(result) == ["the fused weight would not be finite in float32"]


def test_no_conv_before_it_is_no_match() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,4,6,6] y) { y = BatchNormalization(x, gamma, beta, mean, variance) }"
    _, result = check_pass(FuseConvBn(), model_from(text, **statistics()))
    assert missed(result) == []


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[1,3,8,8] x) => (float[1,4,6,6] r) {{
        r = If (p) <
            then_branch = t () => (float[1,4,6,6] y) {{ {BODY} }},
            else_branch = e () => (float[1,4,6,6] z) {{ z = Conv(x, w) }}
        >
    }}"""
    feeds = {"p": np.array(True), "x": weight(1, 3, 8, 8)}
    after, result = check_pass(FuseConvBn(), model_from(text, w=weight(4, 3, 3, 3), **statistics()), feeds=feeds)
    then, other = after.graph.nodes[0].attrs["then_branch"], after.graph.nodes[0].attrs["else_branch"]
    assert result.counts == {"fuse-conv-bn": 1}
    assert [node.op for node in then.nodes] == ["Conv"]
    assert other.nodes[0].inputs[1].name == "w"
