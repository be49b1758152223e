"""ConvTranspose -> BatchNormalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_convtranspose_bn import FuseConvtransposeBn
from pruna_ir.testing import check_pass, missed, ops, run_pass

NORM = "BatchNormalization(c, gamma, beta, mean, variance)"
BODY = f"c = ConvTranspose(x, w) y = {NORM}"
OUTPUT = "float[N,6,h,v] y"


def statistics(channels: int, dtype: str = "float32") -> dict[str, Any]:
    names = ("gamma", "beta", "mean")
    drawn: dict[str, Any] = {name: weight(channels, seed=seed, dtype=dtype) for seed, name in enumerate(names, 1)}
    return {**drawn, "variance": positive(channels, seed=4, dtype=dtype)}


def deconv(body: str = BODY, outputs: str = OUTPUT, inputs: str = "float[2,4,5,6] x", **extra: Any) -> Model:
    weights = {"w": weight(4, 6, 3, 3), "b": weight(6, seed=5), **statistics(6), **extra}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **weights)


@pytest.mark.parametrize(
    "conv",
    [
        "(x, w)",
        "(x, w, b)",
        "<strides: ints = [2, 2], pads: ints = [1, 0, 0, 1], output_padding: ints = [1, 1]> (x, w)",
    ],
)
def test_fires(conv: str) -> None:
    after, result = check_pass(FuseConvtransposeBn(), deconv(f"c = ConvTranspose {conv} y = {NORM}"))
    assert ops(after) == ["ConvTranspose"]
    assert result.counts == {"fuse-convtranspose-bn": 1}


def test_scale_is_that_of_the_output_channel() -> None:
    """As many inputs as outputs: a scale along the wrong axis would fit as well."""
    body = f"c = ConvTranspose <group: int = 2> (x, w) y = {NORM}"
    after, _ = check_pass(
        FuseConvtransposeBn(), deconv(body, "float[N,4,h,v] y", w=weight(4, 2, 3, 3), **statistics(4))
    )
    given = {name: values.astype(np.float64) for name, values in statistics(4).items()}
    scale = given["gamma"] / np.sqrt(given["variance"] + 1e-5)
    expected = weight(4, 2, 3, 3) * scale[[[0, 1], [0, 1], [2, 3], [2, 3]]][..., None, None]
    np.testing.assert_allclose(after.graph.nodes[0].inputs[1].values, expected, rtol=1e-6)


def test_float16() -> None:
    weights = {"w": weight(4, 6, 3, 3, dtype="float16"), **statistics(6, "float16")}
    model = deconv(outputs="float16[N,6,h,v] y", inputs="float16[2,4,5,6] x", **weights)
    after, _ = check_pass(FuseConvtransposeBn(), model, tolerance=5e-3)
    assert {tensor.dtype for tensor in after.graph.nodes[0].inputs[1:]} == {np.dtype(np.float16)}


def test_shared_weight_is_copied() -> None:
    model = deconv(f"{BODY} z = ConvTranspose(x, w)", f"{OUTPUT}, float[N,6,7,8] z")
    after, _ = check_pass(FuseConvtransposeBn(), model)
    np.testing.assert_array_equal(after.graph.nodes[1].inputs[1].values, weight(4, 6, 3, 3))


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (BODY, f"{OUTPUT}, float[N,6,7,8] c", "`c` is an output of the graph"),
        (f"{BODY} z = Relu(c)", f"{OUTPUT}, float[N,6,7,8] z", "`c` has 2 users"),
        (f"v = Neg(w) {BODY.replace('(x, w)', '(x, v)')}", OUTPUT, "`v` is not a constant"),
        (f"m = Neg(mean) {BODY.replace('mean', 'm')}", OUTPUT, "`m` is not a constant"),
        (
            f"v = DequantizeLinear(q, s) {BODY.replace('(x, w)', '(x, v)')}",
            OUTPUT,
            "`v` is quantized: fusing would lose its scale",
        ),
        (
            BODY.replace("y = BatchNormalization", "y, m2, v2 = BatchNormalization <training_mode: int = 1>"),
            OUTPUT,
            "`y` is in training mode",
        ),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    model = deconv(body, outputs, q=np.ones((4, 6, 3, 3), np.int8), s=np.float32(0.5))
    _, result = check_pass(FuseConvtransposeBn(), model)
    assert missed(result) == [reason]


def test_overflow() -> None:
    model = deconv(gamma=np.full(6, 1e30, np.float32), w=weight(4, 6, 3, 3) * np.float32(1e9))
    assert missed(run_pass(FuseConvtransposeBn(), model)) == ["the fused weight would not be finite in float32"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ {BODY} }},
        else_branch = e () => (float[N,6,h,v] z) {{ z = ConvTranspose(x, w) }}
    >"""
    model = deconv(text, "float[N,6,h,v] r", "bool p, float[2,4,5,6] x")
    after, _ = check_pass(FuseConvtransposeBn(), model, feeds={"p": np.array(True), "x": weight(2, 4, 5, 6)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["ConvTranspose"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_convtranspose(data: st.DataObject) -> None:
    groups, inputs, rank = (data.draw(st.integers(1, 3), what) for what in ("g", "in", "rank"))
    outputs = data.draw(st.integers(2, 3), "out")
    sizes, strides = (data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank), what) for what in "ks")
    operands = data.draw(st.sampled_from(["x, w", "x, w, b"]))
    conv = f"c = ConvTranspose <group: int = {groups}, strides: ints = {strides}> ({operands})"
    image = ",".join(["3", str(groups * inputs), *["4"] * rank])
    output = ",".join(["N", str(groups * outputs), *(f"o{axis}" for axis in range(rank))])
    model = model_from(
        f"g (float[{image}] x) => (float[{output}] y) {{ {conv} y = {NORM} }}",
        opset=data.draw(st.integers(13, 24), "opset"),
        w=weight(groups * inputs, outputs, *sizes),
        b=weight(groups * outputs),
        **statistics(groups * outputs),
    )
    after, _ = check_pass(FuseConvtransposeBn(), model)
    assert ops(after) == ["ConvTranspose"]
