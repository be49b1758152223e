"""The largest values of a model's outputs decide: they are not clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.analysis.qdq import params_of
from pruna_ir.passes.quantization.answers import is_answer, last_to_round
from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets import Target
from pruna_ir.targets.coreml import COREML
from pruna_ir.targets.tensorrt import TENSORRT
from pruna_ir.targets.tflite import TFLITE

HEAD = "g (float[1,8] x) => (float[1,8] y{more}) {{ t = Neg(x) {rest} }}"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("y = Identity(t)", True),
        ("y = Softmax(t)", True),
        ("u = LogSoftmax(t) y = Transpose(u)", True),
        ("y = Concat<axis=0>(x, t)", True),
        ("y = Relu(t)", False),
        ("y = Sub(x, t)", False),
        ("u = Softmax(t) y = Mul(u, x)", False),
    ],
)
def test_what_keeps_the_order_of_values(rest: str, expected: bool) -> None:
    graph = model_from(HEAD.format(more="", rest=rest)).graph
    assert is_answer(graph.tensors()["t"], {id(tensor) for tensor in graph.outputs}) is expected


def test_output_that_is_read_as_well() -> None:
    graph = model_from(HEAD.format(more=", float[1,8] t", rest="y = Relu(t)")).graph
    assert is_answer(graph.tensors()["t"], {id(tensor) for tensor in graph.outputs})


def test_one_reader_is_enough() -> None:
    graph = model_from(HEAD.format(more=", float[1,8] z", rest="y = Relu(t) z = Softmax(t)")).graph
    assert is_answer(graph.tensors()["t"], {id(tensor) for tensor in graph.outputs})


NETWORK = "g (float[1,16,4,4] x) => (float[1,16] y) {{ c = Conv(x, w) {rest} }}"


@pytest.mark.parametrize(
    ("target", "rest", "expected"),
    [
        (TFLITE, "p = GlobalAveragePool(c) f = Flatten(p) y = Softmax(f)", ["y", "f", "p"]),
        (TFLITE, "p = GlobalAveragePool(c) f = Flatten(p) g = Relu(f) y = Gemm(g, v)", []),
        (TFLITE, "p = GlobalAveragePool(c) f = Flatten(p) g = Neg(f) y = Sigmoid(g)", ["y"]),
        (COREML, "p = GlobalAveragePool(c) y = Flatten(p)", []),  # its table leaves them in float
        (TENSORRT, "p = GlobalAveragePool(c) y = Flatten(p)", []),  # rounds what they read, not what they write
    ],
)
def test_what_has_no_weights_is_not_the_last_to_round(target: Target, rest: str, expected: list[str]) -> None:
    weights: dict[str, Any] = {"w": np.ones((16, 16, 1, 1), np.float32), "v": np.ones((16, 16), np.float32)}
    used = {name: values for name, values in weights.items() if f" {name})" in f"{NETWORK}{rest}"}
    graph = model_from(NETWORK.format(rest=rest), **used).graph
    outputs = {id(tensor) for tensor in graph.outputs}
    assert [kernel.key for kernel in last_to_round(make_plan(graph, target).kernels, outputs)] == expected


def test_range_of_an_output_holds_its_largest_value() -> None:
    eye = np.eye(4, dtype=np.float32)
    text = "g (float[1,4] x) => (float[1,4] y) { h = Gemm(x, w) r = Relu(h) y = Gemm(r, v) }"
    model = model_from(text, w=eye, v=eye)
    data = np.random.default_rng(0).standard_normal((64, 1, 4)).astype(np.float32)
    data[7, 0, 2] = 60.0
    PassManager.parse("quantize<ranges=percentile99;guard=false;target=tflite>").run(model, data=data)
    tops = {}
    for node in model.graph.nodes:
        params = params_of(node) if node.op == "QuantizeLinear" else None
        if params is not None:
            tops[node.inputs[0].name] = float((127 - int(params.zero_point)) * params.scale)
    assert tops["y_float"] == pytest.approx(60, rel=0.01)
    assert tops["r"] < 10
