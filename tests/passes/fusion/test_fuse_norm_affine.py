"""LayerNormalization and its kin -> Mul or Add."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_norm_affine import FuseNormAffine
from pruna_ir.testing import check_pass, missed, ops

LAYER = "n = LayerNormalization(x, s, b)"
PAIR = "n = LayerNormalization<axis = 1>(x, square, b2)"
BARE = "n = LayerNormalization(x, s)"
RMS = "n = RMSNormalization(x, s)"
INSTANCE = "n = InstanceNormalization(x, c, d)"
GROUPS = "n = GroupNormalization<num_groups = 3>(x, c, d)"

WEIGHTS = {
    "s": positive(4),
    "b": weight(4),
    "square": positive(6, 5, 4),
    "b2": weight(6, 5, 4),
    "c": positive(6),
    "d": weight(6, seed=1),
    "k": positive(4, seed=2),
    "k4": positive(1, 1, 1, 4, seed=2),
    "plane": positive(5, 4, seed=3),
    "channels": positive(6, 1, 1, seed=4),
    "number": np.float32(1.5),
    "zero": np.float32(0),
    "huge": np.float32(1e38),
    "wide": positive(1, 1, 1, 1, 1),
}


def norm(body: str, outputs: str = "float[2,6,5,4] y") -> Model:
    used = {
        name: value for name, value in WEIGHTS.items() if f"{name})" in body or f"{name}," in body or f"({name}" in body
    }
    # ONNX does not infer the shape of GroupNormalization.
    return model_from(f"g (float[2,6,5,4] x) => ({outputs}) <float[2,6,5,4] n> {{ {body} }}", opset=23, **used)


@pytest.mark.parametrize(
    ("body", "op"),
    [
        (f"{LAYER} y = Mul(n, k)", "LayerNormalization"),
        (f"{LAYER} y = Mul(k4, n)", "LayerNormalization"),
        (f"{LAYER} y = Div(n, number)", "LayerNormalization"),
        (f"{LAYER} y = Add(n, k)", "LayerNormalization"),
        (f"{LAYER} y = Sub(n, k)", "LayerNormalization"),
        (f"{LAYER} y = Sub(k, n)", "LayerNormalization"),
        (f"{BARE} y = Mul(n, k)", "LayerNormalization"),
        (f"{BARE} y = Add(number, n)", "LayerNormalization"),
        (f"{PAIR} y = Mul(n, plane)", "LayerNormalization"),
        (f"{PAIR} y = Add(n, channels)", "LayerNormalization"),
        (f"{RMS} y = Mul(n, k)", "RMSNormalization"),
        (f"{RMS} y = Div(n, k)", "RMSNormalization"),
        (f"{INSTANCE} y = Mul(n, channels)", "InstanceNormalization"),
        (f"{INSTANCE} y = Sub(channels, n)", "InstanceNormalization"),
        (f"{GROUPS} y = Mul(n, channels)", "GroupNormalization"),
        (f"{GROUPS} y = Add(n, number)", "GroupNormalization"),
    ],
)
def test_fires(body: str, op: str) -> None:
    after, _ = check_pass(FuseNormAffine(), norm(body))
    assert ops(after) == [op]


def test_a_scale_alone_needs_no_bias() -> None:
    after, _ = check_pass(FuseNormAffine(), norm(f"{BARE} y = Mul(n, k)"))
    assert len(after.graph.nodes[0].inputs) == 2


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (f"{LAYER} y = Mul(n, k)", "float[2,6,5,4] y, float[2,6,5,4] n", "`n` is an output of the graph"),
        (f"{LAYER} y = Mul(n, k) z = Neg(n)", "float[2,6,5,4] y, float[2,6,5,4] z", "`n` has 2 users"),
        (f"{LAYER} y = Mul(n, plane)", "float[2,6,5,4] y", "`plane` of shape [5, 4] is no scale or bias over [4]"),
        (
            f"{LAYER} y = Mul(n, wide)",
            "float[1,2,6,5,4] y",
            "`wide` of shape [1, 1, 1, 1, 1] is no scale or bias over [4]",
        ),
        (f"{LAYER} y = Div(n, zero)", "float[2,6,5,4] y", "the fused scale would not be finite in float32"),
        (
            f"{INSTANCE} y = Mul(n, k)",
            "float[2,6,5,4] y",
            "`k` of shape [4] is neither a scalar nor one value per channel",
        ),
        (
            "e = Neg(c) n = InstanceNormalization(x, e, d) y = Mul(n, number)",
            "float[2,6,5,4] y",
            "`e` is not a constant",
        ),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    model = norm(body, outputs)
    after, result = check_pass(FuseNormAffine(), model)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


@pytest.mark.parametrize(
    "body",
    [
        f"{RMS} y = Add(n, k)",  # no bias
        f"{LAYER} y = Div(k, n)",
        f"{LAYER} y = Add(n, x)",  # a residual connection
        "m, n = Split<axis = 0, num_outputs = 2>(x) t = LayerNormalization(x, s) y = Add(t, x)",
    ],
)
def test_no_match(body: str) -> None:
    model = norm(body)
    after, result = check_pass(FuseNormAffine(), model)
    assert ops(after) == ops(model)
    assert missed(result) == []


def test_unknown_sizes() -> None:
    text = "g (float[n,m] x, float[m] s) => (float[n,m] y) { l = LayerNormalization(x, s) y = Mul(l, k) }"
    feeds = {"x": weight(2, 3), "s": weight(3)}
    _, result = check_pass(FuseNormAffine(), model_from(text, k=np.float32(2)), feeds=feeds)
    assert missed(result) == ["`s` is not a constant"]


def test_unknown_normalized_size() -> None:
    text = "g (float[n,m] x) => (float[n,m] y) { l = LayerNormalization(x, s) y = Mul(l, k) }"
    feeds = {"x": weight(2, 3)}
    _, result = check_pass(FuseNormAffine(), model_from(text, k=np.float32(2), s=positive(3)), feeds=feeds)
    assert missed(result) == ["the sizes that `x` is normalized over are not known"]


def test_further_outputs_stay() -> None:
    model = norm("n, m = LayerNormalization(x, s) y = Mul(n, k)", "float[2,6,5,4] y, float[2,6,5,1] m")
    after, _ = check_pass(FuseNormAffine(), model)
    assert ops(after) == ["LayerNormalization"]


def test_half_precision() -> None:
    text = "g (float16[2,4] x) => (float16[2,4] y) { n = LayerNormalization(x, s) y = Mul(n, k) }"
    model = model_from(text, s=positive(4, dtype="float16"), k=positive(4, seed=1, dtype="float16"))
    after, _ = check_pass(FuseNormAffine(), model, tolerance=2e-3)
    assert ops(after) == ["LayerNormalization"]
    assert after.graph.nodes[0].inputs[1].dtype == np.float16
