"""The smooth pass: from normalizations into the weights that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.smooth import Smooth
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, missed, ops

X = np.random.default_rng(0).standard_normal((16, 6, 32)).astype(np.float32)
DATA = Dataset.from_arrays(X)
# Two channels far larger than the others, as in trained transformers.
OUTLIERS = np.ones(32, np.float32)
OUTLIERS[[3, 17]] = 60, 25


def block(body: str, norm: str = "LayerNormalization<axis=-1>(x, g, b)", **more: Any) -> Model:
    """n = norm(x); the body reads it and writes y."""
    shape = "float[k,6,32]"
    constants = {
        "g": OUTLIERS,
        "b": weight(32, seed=1) * OUTLIERS,
        "w": weight(32, 32, seed=2) / OUTLIERS[:, None],
        "v": weight(32, 8, seed=3) / OUTLIERS[:, None],
        **more,
    }
    text = norm + body
    used = {name: value for name, value in constants.items() if f" {name})" in text or f" {name}," in text}
    return model_from(f"t ({shape} x) => (float[k,6,?] y) {{ n = {norm} {body} }}", **used)


PRE_NORM = "p = MatMul(n, w) q = MatMul(n, v) s = Sigmoid(p) y = Concat<axis=-1>(s, q)"
POST_NORM = "p = MatMul(n, w) s = Sigmoid(p) y = Add(s, n)"


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
def test_all_readers_share_the_scale(alpha: float) -> None:
    model = block(PRE_NORM)
    after, result = check_pass(Smooth(alpha=alpha, guard=False), model, data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 1}
    assert ops(after) == ops(model)


def test_formula() -> None:
    model = block(PRE_NORM)
    after, _ = check_pass(Smooth(guard=False), model, data=DATA, feeds={"x": X})
    normalized = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 1e-5)
    values = np.abs(normalized * OUTLIERS + weight(32, seed=1) * OUTLIERS).max(axis=(0, 1))
    weights = np.maximum(*(np.abs(model.graph.tensors()[name].values).max(axis=1) for name in "wv"))
    expected = np.sqrt(values / weights)
    found = OUTLIERS / after.graph.nodes[0].inputs[1].values
    assert found / expected == pytest.approx(np.full(32, found[0] / expected[0]), rel=1e-3)


def test_quantized_model_is_closer_to_the_float_one() -> None:
    model = block(PRE_NORM)
    evaluator = Evaluator(DATA.bind(model.inputs()), model.clone())
    quality = []
    for text in ("quantize<guard=false>", "smooth,quantize<guard=false>", "smooth<alpha=none>,quantize<guard=false>"):
        candidate = model.clone()
        PassManager.parse(text).run(candidate, data=DATA)
        quality.append(evaluator.compare(candidate)[0])
    assert quality[1] > quality[0] + 3
    assert quality[2] >= quality[1] - 0.5


def test_residual_needs_the_channels_as_they_are() -> None:
    _, result = check_pass(Smooth(), block(POST_NORM), data=DATA, feeds={"x": X})
    assert missed(result) == ["`y` adds `s`, which has its own scales"]


def test_explicit_gives_the_residual_its_scale_back() -> None:
    model = block(POST_NORM)
    after, result = check_pass(Smooth(explicit=True, guard=False), model, data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 1}
    assert ops(after) == ["LayerNormalization", "MatMul", "Sigmoid", "Mul", "Add"]


def test_explicit_cannot_change_an_output() -> None:
    model = block("y = MatMul(n, v)")
    model.graph.outputs.append(model.graph.tensors()["n"])
    _, result = check_pass(Smooth(explicit=True), model, data=DATA, feeds={"x": X})
    assert missed(result) == ["`n` is an output of the graph"]


def test_normalization_over_more_than_the_last_axis_stays() -> None:
    model = block("y = MatMul(n, v)", "LayerNormalization<axis=1>(x, h, c)", h=weight(6, 32), c=weight(6, 32))
    _, result = check_pass(Smooth(), model, data=DATA, feeds={"x": X})
    assert missed(result) == ["`x` is normalized over more than the last axis"]


def test_computed_scale_stays() -> None:
    model = model_from(
        "t (float[k,6,32] x, float[32] h) => (float[k,6,8] y) { n = LayerNormalization(x, h) y = MatMul(n, v) }",
        v=weight(32, 8),
    )
    data = Dataset.from_arrays([{"x": X[:1], "h": OUTLIERS}])
    _, result = check_pass(Smooth(), model, data=data, feeds={"x": X, "h": OUTLIERS})
    assert missed(result) == ["`h` is not a constant"]


def test_normalization_of_channels() -> None:
    model = model_from(
        "t (float[k,4,6,6] x) => (float[k,5,6,6] y) { n = InstanceNormalization(x, g, b) r = Relu(n) y = Conv(r, w) }",
        g=np.array([1, 40, 2, 0.1], np.float32), b=weight(4), w=weight(5, 4, 1, 1),
    )  # fmt: skip
    images = np.random.default_rng(0).standard_normal((4, 4, 6, 6)).astype(np.float32)
    _, result = check_pass(Smooth(guard=False), model, data=Dataset.from_arrays(images), feeds={"x": images})
    assert result.counts == {"links scaled": 1}


def test_root_mean_square_normalization() -> None:
    text = "t (float[k,6,32] x) => (float[k,6,8] y) { n = RMSNormalization(x, g) y = MatMul(n, v) }"
    model = model_from(text, opset=23, g=OUTLIERS, v=weight(32, 8))
    _, result = check_pass(Smooth(guard=False), model, data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 1}
