"""Weights of products and embeddings in few bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from onnx_text import model_from, weight
from small_graphs import runtime_ops

from pruna_ir.analysis import accuracy
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.precision.blocks import quantize_blocks
from pruna_ir.passes.precision.quantize_weights import QuantizeWeights
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, ops

PASS = QuantizeWeights()
Bits = Literal["8", "4"]


def sqnr(before: Model, after: Model, feeds: dict[str, np.ndarray]) -> float:
    expected, found = Session(before).run(feeds)["y"], Session(after).run(feeds)["y"]
    return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def matmul(inputs: int = 64, opset: int = 21) -> Model:
    text = f"g (float[n,{inputs}] x) => (float[n,48] y) {{ y = MatMul(x, w) }}"
    return model_from(text, opset=opset, w=weight(inputs, 48))


@pytest.mark.parametrize("inputs", [64, 50])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("bits", "block", "least"), [("8", 32, 38), ("8", 0, 35), ("4", 32, 18), ("4", 16, 19), ("4", 0, 15)]
)
def test_products(bits: Bits, block: int, least: float, symmetric: bool, inputs: int) -> None:
    """Also where the last block is cut short. The runtime multiplies from the blocks."""
    item = replace(PASS, bits=bits, block=block, symmetric=symmetric)
    model = matmul(inputs)
    after, result = check_pass(item, model)
    assert ops(after) == ["DequantizeLinear", "MatMul"]
    assert result.counts == {"weights in integers": 1}
    assert runtime_ops(after) == {"MatMulNBits": 1}
    assert sqnr(model, after, {"x": weight(9, inputs, seed=1)}) > least


def test_opset_is_raised_where_blocks_need_it() -> None:
    after, result = check_pass(PASS, matmul(opset=17))
    assert after.opset == 21
    assert "raised from 17 to 21" in str(result.remarks[0])
    kept, _ = check_pass(replace(PASS, block=0), matmul(opset=17))
    assert kept.opset == 17


def test_opset_stays_where_there_is_nothing_to_store() -> None:
    model = model_from("g (float[n,4] x) => (float[n,4] y) { y = MatMul(x, w) }", w=weight(4, 4))
    _, result = check_pass(PASS, model)
    assert not result.changed and model.opset == 17


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(transposed: int) -> None:
    """The runtime multiplies from blocks only where the weights are not transposed."""
    text = f"g (float[n,64] x) => (float[n,48] y) {{ y = Gemm<transB={transposed}, alpha=0.5>(x, w, b) }}"
    w = weight(64, 48)
    model = model_from(text, opset=21, w=w.T.copy() if transposed else w, b=weight(48))
    after, _ = check_pass(PASS, model)
    assert sqnr(model, after, {"x": weight(9, 64, seed=1)}) > 38
    plain = model_from(text.replace(", alpha=0.5", ""), opset=21, w=w.T.copy() if transposed else w, b=weight(48))
    after, _ = check_pass(PASS, plain)
    assert runtime_ops(after) == {"MatMulNBits": 1}


@pytest.mark.parametrize("bits", ["8", "4"])
def test_embedding(bits: Bits) -> None:
    text = "g (int64[n,3] i) => (float[n,3,16] y) { y = Gather(t, i) }"
    model = model_from(text, t=weight(100, 16) * np.geomspace(1e-3, 1e3, 100, dtype=np.float32)[:, None])
    after, _ = check_pass(replace(PASS, bits=bits, block=0), replace_opset(model, bits))
    assert ops(after) == ["Gather", "Cast", "Gather", "Mul"]
    rows = np.array([[0, 5, 99], [-1, 50, 7]])
    expected, found = Session(model).run({"i": rows})["y"], Session(after).run({"i": rows})["y"]
    step = np.abs(expected).max(axis=-1, keepdims=True) / 127
    assert (np.abs(found - expected) <= step / 2 * 1.001).all()


def replace_opset(model: Model, bits: str) -> Model:
    """4 bits raise the opset, which would be a change of its own."""
    copy = model.clone()
    if bits == "4":
        PassManager.parse("raise-opset<to=21>").run(copy)
    return copy


def test_shared_weights() -> None:
    """A table that is also the last layer's weights, as in language models."""
    text = (
        "g (int64[n] i) => (float[n,80] y) { e = Gather(t, i) f = Gather(t, i) s = Add(e, f) y = Gemm<transB=1>(s, t) }"
    )
    model = model_from(text, opset=21, t=weight(80, 32))
    after, result = check_pass(PASS, model)
    assert result.counts == {"weights in integers": 1}
    assert len(after.to_proto().graph.initializer) == 4
    assert sqnr(model, after, {"i": np.arange(20)}) > 35


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[64,n] x) => (float[64,n] y) { y = MatMul(w, x) }", "its constant `w` is the first factor"),
        ("g (float[n,64] x) => (float[64,64] y) { y = Gemm<transA=1>(x, w) }", "its first factor is transposed"),
        ("g (int64[n] i) => (float[64,n] y) { y = Gather<axis=1>(w, i) }", "it does not take rows of a table"),
        (
            "g (float[n,64] x) => (float[n,64] y) { a = MatMul(x, w) y = Mul(a, w) }",
            "its weight `w` is needed in float as well",
        ),
    ],
)
def test_stays_in_float(text: str, reason: str) -> None:
    model = model_from(text, w=weight(64, 64))
    name = model.inputs()[0].name
    feeds = {name: np.arange(3) if name == "i" else weight(64, 64)}
    _, result = check_pass(PASS, model, feeds=feeds)
    assert missed(result) == [f"its weights stay in float: {reason}"]
    assert not result.changed


def test_infinite_weights_stay() -> None:
    """No model with such weights can be loaded, but a pass may have made them."""
    model = matmul()
    model.graph.nodes[0].inputs[1].values = np.full((64, 48), np.inf, np.float32)
    result = PassManager([PASS]).run(model)
    assert not result.changed and "not finite" in str(result.remarks[0])


def test_options_choose() -> None:
    model = model_from(
        "g (int64[n] i) => (float[n,48] y) { e = Gather(t, i) y = MatMul(e, w) }",
        opset=21,
        t=weight(99, 64),
        w=weight(64, 48),
    )
    tables, _ = check_pass(replace(PASS, ops=("Gather",)), model)
    assert ops(tables) == ["Gather", "Cast", "Gather", "Mul", "MatMul"]
    products, _ = check_pass(replace(PASS, exclude=("op:Gather",)), model)
    assert ops(products) == ["Gather", "DequantizeLinear", "MatMul"]


@pytest.mark.parametrize(("limit", "expected"), [(4, 4), (3, 3), (1, 1), (0, 0)])
def test_guard_stores_fewer(limit: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The score is made to drop as soon as more than `limit` weights are stored."""

    def drop(self: accuracy.Evaluator, model: Model) -> float:
        return float(ops(model).count("DequantizeLinear") > limit)

    monkeypatch.setattr(accuracy.Evaluator, "drop", drop)
    body = " ".join(f"a{k + 1} = MatMul(a{k}, w{k})" for k in range(4))
    weights = {f"w{k}": weight(64, 64, seed=k) for k in range(4)}
    model = model_from(f"g (float[n,64] a0) => (float[n,64] a4) {{ {body} }}", opset=21, **weights)
    result = PassManager([PASS]).run(model, data=Dataset.of(weight(4, 64)))
    assert ops(model).count("DequantizeLinear") == expected
    assert ("cost accuracy" in " ".join(map(str, result.remarks))) == (expected < 4)


def test_blocks_on_the_grid_do_not_move() -> None:
    once = quantize_blocks(weight(64, 8), 4, 16, symmetric=True)
    again = quantize_blocks(once.restored(), 4, 16, symmetric=True)
    assert np.allclose(again.restored(), once.restored(), rtol=1e-6, atol=0)


def test_clipping_helps_few_bits() -> None:
    matrix = weight(4096, 4)
    blocks = quantize_blocks(matrix, 4, 0, symmetric=True)
    whole = np.abs(matrix).max(axis=0) / 7
    plain = np.clip(np.rint(matrix / whole), -7, 7) * whole
    assert np.square(blocks.restored() - matrix).sum() < 0.8 * np.square(plain - matrix).sum()
