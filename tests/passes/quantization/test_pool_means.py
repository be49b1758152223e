"""ReduceMean over an image -> GlobalAveragePool."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import build, conv, runtime_ops, samples, weights

from pruna_ir import registry
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.pool_means import PoolMeans
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, ops

IMAGE = "float[n,4,8,6]"


def image(body: str, shape: str = IMAGE, opset: int = 17, **constants: np.ndarray) -> Model:
    kind = shape.partition("[")[0]
    """A model of an image whose answer is not the mean itself."""
    return model_from(f"g ({shape} x) => ({kind} y) {{ {body} y = Tanh(m) }}", opset=opset, **constants)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("m = ReduceMean<axes = [2, 3]>(x)", ["GlobalAveragePool", "Tanh"]),
        ("m = ReduceMean<axes = [-1, -2], keepdims = 0>(x)", ["GlobalAveragePool", "Flatten", "Tanh"]),
    ],
)
def test_fires(body: str, found: list[str]) -> None:
    after, result = check_pass(PoolMeans(), image(body))
    assert ops(after) == found
    assert result.counts == {"pool-means": 1}


def test_axes_as_an_input() -> None:
    model = image("m = ReduceMean(x, axes)", opset=18, axes=np.array([2, 3]))
    after, _ = check_pass(PoolMeans(), model)
    assert ops(after) == ["GlobalAveragePool", "Tanh"]


def test_several_readers_and_an_output_between() -> None:
    text = "g (float[2,4,8,6] x) => (float y, float a) { m = ReduceMean<axes = [2, 3]>(x) a = Relu(m) y = Add(a, m) }"
    after, _ = check_pass(PoolMeans(), model_from(text, opset=17))
    assert ops(after) == ["GlobalAveragePool", "Relu", "Add"]


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        ("m = ReduceMean<axes = [1, 2]>(x)", IMAGE, "the mean is over the axes [1, 2], not all behind the channels"),
        ("m = ReduceMean(x)", IMAGE, "the mean is over the axes [0, 1, 2, 3], not all behind the channels"),
        ("m = ReduceMean<axes = [2]>(x)", "float[2,4,8]", "`x` of shape [2, 4, 8] is no image"),
        ("m = ReduceMean<axes = [2, 3]>(x)", "float16[2,4,8,6]", "`x` holds float16, not float32"),
    ],
)
def test_does_not_fire(body: str, shape: str, reason: str) -> None:
    model = image(body, shape)
    after, result = check_pass(PoolMeans(), model)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


def test_axes_that_are_computed() -> None:
    text = f"g ({IMAGE} x, int64[2] a) => (float y) {{ m = ReduceMean(x, a) y = Tanh(m) }}"
    _, result = check_pass(
        PoolMeans(), model_from(text, opset=18), feeds={"x": np.ones((1, 4, 8, 6), np.float32), "a": np.array([2, 3])}
    )
    assert missed(result) == ["`a` is not a constant"]


def test_an_answer_is_not_rounded() -> None:
    text = f"g ({IMAGE} x) => (float y) {{ m = ReduceMean<axes = [2, 3]>(x) y = Flatten(m) }}"
    after, result = check_pass(PoolMeans(), model_from(text))
    assert ops(after) == ["ReduceMean", "Flatten"]
    assert missed(result) == ["in integers it would round the model's answer"]


@pytest.mark.parametrize("target", ["tflite", "coreml"])
def test_leaves_means_to_targets_that_have_them(target: str) -> None:
    model = image("m = ReduceMean<axes = [2, 3]>(x)")
    assert "ReduceMean" in registry.target(target).ops
    result = PassManager.parse("pool-means").run(model, target=target)
    assert not result.changed


@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_mean_becomes_an_integer_kernel(keepdims: int) -> None:
    """Between two layers all runs in integers; around a mean the runtime would convert twice."""
    node = onnx.helper.make_node
    model = build(
        [
            conv("c", "x", "w"),
            node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=keepdims),
            *([node("Flatten", ["m"], ["f"])] if keepdims else []),
            node("Gemm", ["f" if keepdims else "m", "v"], ["y"]),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 8, 3, 1, 1), "v": weights(1, 8, 5)},
    )
    after = model.clone()
    PassManager.parse("pool-means,quantize<guard=false>").run(after, data=Dataset.from_arrays(samples()))
    found = runtime_ops(after)
    assert found["QLinearGlobalAveragePool"] == found["QGemm"] == 1
    assert found["ReduceMean"] == found["GlobalAveragePool"] == 0
    feeds = {"x": samples()}
    wanted, got = Session(model).run(feeds)["y"], Session(after).run(feeds)["y"]
    assert np.square(wanted - got).sum() < 0.01 * np.square(wanted).sum()
