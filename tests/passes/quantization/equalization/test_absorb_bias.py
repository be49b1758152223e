"""The absorb-bias pass as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.absorb_bias import AbsorbBias
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass

X = np.random.default_rng(0).uniform(-1, 1, (16, 3, 6, 6)).astype(np.float32)
DATA = Dataset.from_arrays(X)
# Channels 1 and 3 lie far above zero.
HIGH = np.array([0.1, 40, -0.2, 60], np.float32)
CHAIN = "a = Conv(x, w1, b1) r = {function}(a{slopes}) y = Conv{attributes}(r, w2{bias})"


def chain(
    function: str = "Relu",
    slopes: str = "",
    attributes: str = "",
    bias: str = ", b2",
    outputs: str = "",
    more: str = "",
) -> Model:
    constants: dict[str, Any] = {"w1": weight(4, 3, 1, 1), "b1": HIGH, "w2": weight(6, 4, 1, 1, seed=1)}
    if "group" in attributes:
        constants["w2"] = weight(6, 2, 1, 1, seed=1)
    if "pads" in attributes:
        constants["w2"] = weight(6, 4, 3, 3, seed=1)
    if slopes:
        constants["s"] = np.full((4, 1, 1), 0.2, np.float32)
    if bias:
        constants["b2"] = weight(6, seed=2)
    nodes = CHAIN.format(function=function, slopes=slopes, attributes=attributes, bias=bias)
    text = f"g (float[n,3,6,6] x) => (float[n,6,h,w] y{outputs}) {{ {nodes} {more} }}"
    return model_from(text, **constants)


def bias_of(model: Model, name: str) -> np.ndarray:
    node = next(node for node in model.graph.nodes if node.outputs[0].name == name)
    return np.asarray(node.inputs[2].values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"function": "LeakyRelu"},
        {"function": "PRelu", "slopes": ", s"},
        {"attributes": "<group=2>"},
        {"bias": ""},
        {"attributes": "<strides=[2,2]>"},
    ],
    ids=str,
)
def test_fires_and_computes_the_same(options: dict[str, str]) -> None:
    after, result = check_pass(AbsorbBias(guard=False), chain(**options), data=DATA, feeds={"x": X}, tolerance=1e-5)
    assert result.counts == {"biases absorbed": 1}
    absorbed = bias_of(after, "a")
    assert (absorbed[[0, 2]] == HIGH[[0, 2]]).all() and (absorbed[[1, 3]] < 10).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_gemm(transposed: bool) -> None:
    text = "a = Gemm(x, w1, b1) r = Relu(a) y = Gemm{}(r, w2)"
    second = weight(5, 4, seed=1) if transposed else weight(4, 5, seed=1)
    nodes = text.format("<transB=1>" if transposed else "")
    model = model_from(f"g (float[n,3] x) => (float[n,5] y) {{ {nodes} }}", w1=weight(3, 4), b1=HIGH, w2=second)
    rows = X[:, :, 0, 0]
    _, result = check_pass(
        AbsorbBias(guard=False), model, data=Dataset.from_arrays(rows), feeds={"x": rows}, tolerance=1e-5
    )
    assert result.counts == {"biases absorbed": 1}


def test_every_reader_takes_its_part() -> None:
    model = chain(outputs=", float[n,6,h,w] z", more="z = Conv(r, w2)")
    _, result = check_pass(AbsorbBias(guard=False), model, data=DATA, feeds={"x": X}, tolerance=1e-5)
    assert result.counts == {"biases absorbed": 1}


@pytest.mark.parametrize(
    "options",
    [
        {"attributes": "<pads=[1,1,1,1]>"},
        {"attributes": '<auto_pad="SAME_UPPER">'},
        {"function": "Sigmoid"},
        {"outputs": ", float[n,4,6,6] r"},
        {"outputs": ", float[n,4,6,6] a"},
        {"outputs": ", float[n,4,6,6] z", "more": "z = Exp(r)"},
        {"outputs": ", float[n,4,6,6] z", "more": "z = Exp(a)"},
    ],
    ids=str,
)
def test_does_not_fire(options: dict[str, str]) -> None:
    after, result = check_pass(AbsorbBias(guard=False), chain(**options), data=DATA, feeds={"x": X})
    assert not result.changed and (bias_of(after, "a") == HIGH).all()


def test_nothing_to_absorb() -> None:
    model = chain()
    next(node for node in model.graph.nodes if node.outputs[0].name == "a").inputs[2].values = HIGH * 0
    _, result = check_pass(AbsorbBias(guard=False), model, data=DATA, feeds={"x": X})
    assert not result.changed


def test_quantized_model_is_much_closer_to_the_float_one() -> None:
    model = chain()
    evaluator = Evaluator(DATA.bind(model.inputs()), model.clone())
    quality = []
    for text in ("quantize<guard=false>", "absorb-bias,quantize<guard=false>"):
        candidate = model.clone()
        PassManager.parse(text).run(candidate, data=DATA)
        quality.append(evaluator.compare(candidate)[0])
    assert quality[1] > quality[0] + 3


def test_guard_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruna_ir.passes.quantization.equalization.absorb_bias.NOTICEABLE_DB", 1e9)
    _, result = check_pass(AbsorbBias(), chain(), data=DATA, feeds={"x": X})
    assert not result.changed
    assert "quantized on trial" in str(result.remarks[0].reason)
