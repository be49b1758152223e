"""DepthToSpace in the order of channels that LiteRT has."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")

import numpy as np
from lite_nodes import agrees
from onnx_text import model_from, weight

from pruna_ir.backends.tflite.order_pixel_shuffle import OrderPixelShuffle
from pruna_ir.model import Model
from pruna_ir.testing import check_pass, missed, ops

PARAMETERS: dict[str, Any] = {"w": weight(12, 3, 3, 3), "b": weight(12, seed=1)}


def shuffling(between: str = "", last: str = "a", outputs: str = "", group: int = 1) -> Model:
    """Conv -> ... -> PixelShuffle."""
    text = f"""g (float[1,3,6,8] x) => (float[1,3,8,12] y{outputs}) {{
        a = Conv<group={group}>(x, w, b)
        {between}
        y = DepthToSpace<blocksize=2, mode="CRD">({last})
    }}"""
    parameters = {**PARAMETERS, "w": weight(12, 3 // group, 3, 3)}
    return model_from(text, **parameters)


@pytest.mark.parametrize(("between", "last"), [("", "a"), ("r = Relu(a)", "r"), ("r = LeakyRelu(a) t = Tanh(r)", "t")])
def test_fires(between: str, last: str) -> None:
    after, result = check_pass(OrderPixelShuffle(), shuffling(between, last))
    assert result.counts == {"order-pixel-shuffle": 1}
    assert after.graph.nodes[-1].attrs["mode"] == "DCR"


def test_no_bias() -> None:
    text = """g (float[1,3,6,8] x) => (float[1,3,8,12] y) {
        a = Conv(x, w) y = DepthToSpace<blocksize=2, mode="CRD">(a)
    }"""
    check_pass(OrderPixelShuffle(), model_from(text, w=PARAMETERS["w"]))


def test_quantized() -> None:
    text = """g (float[1,3,6,8] x) => (float[1,3,8,12] y) {
        wf = DequantizeLinear<axis=0>(w, ws, wz)
        bf = DequantizeLinear<axis=0>(b, bs)
        a = Conv(x, wf, bf)
        q = QuantizeLinear(a, s, z)
        d = DequantizeLinear(q, s, z)
        y = DepthToSpace<blocksize=2, mode="CRD">(d)
    }"""
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "w": random.integers(-127, 128, (12, 3, 3, 3)).astype(np.int8),
        "ws": random.uniform(0.01, 0.02, 12).astype(np.float32),
        "wz": np.zeros(12, np.int8),
        "b": random.integers(-1000, 1000, 12).astype(np.int32),
        "bs": random.uniform(1e-4, 2e-4, 12).astype(np.float32),
        "s": np.float32(0.05),
        "z": np.int8(3),
    }
    after, _ = check_pass(OrderPixelShuffle(), model_from(text, **constants))
    assert after.graph.nodes[-1].attrs["mode"] == "DCR"


def test_nothing_moves_in_the_file() -> None:
    model = shuffling()
    found = agrees(model, {"x": weight(1, 3, 6, 8, seed=2)})
    assert found.count("DEPTH_TO_SPACE") == 1
    assert found.count("TRANSPOSE") <= 2


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (shuffling(group=3), "the convolution has 3 groups"),
        (shuffling(outputs=", float[1,12,4,6] a"), "`a` is an output of the graph"),
        (shuffling("r = Relu(a)", "r", ", float[1,12,4,6] r"), "`r` is an output of the graph"),
    ],
)
def test_stays(model: Model, reason: str) -> None:
    after, result = check_pass(OrderPixelShuffle(), model)
    assert after.graph.nodes[-1].attrs["mode"] == "CRD"
    assert missed(result) == [reason]


def test_parameters_of_channels_stay() -> None:
    text = """g (float[1,3,6,8] x) => (float[1,3,8,12] y) {
        a = Conv(x, w) r = Add(a, b) y = DepthToSpace<blocksize=2, mode="CRD">(r)
    }"""
    model = model_from(text, w=PARAMETERS["w"], b=weight(1, 12, 1, 1))
    assert ops(check_pass(OrderPixelShuffle(), model)[0]) == ["Conv", "Add", "DepthToSpace"]
