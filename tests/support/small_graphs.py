"""Small graphs to quantize, and a look at what ONNX Runtime makes of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from pruna_ir.model import Model

Constants = dict[str, np.ndarray]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Constants,
) -> Model:
    """A float32 model at opset 17."""
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(proto)
    return Model.load(inferred)


def weights(seed: int, *shape: int) -> np.ndarray:
    """Random float32 values of a convolution's size."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.3


def conv(name: str, data: str, weight: str, bias: str = "", output: str = "", **attributes: Any) -> onnx.NodeProto:
    """A Conv node that writes `output` (by default its own name)."""
    inputs = [data, weight, *([bias] if bias else [])]
    return onnx.helper.make_node("Conv", inputs, [output or name], name=name, **attributes)


def small_net() -> Model:
    """x -> Conv -> Relu -> Conv -> Add(with the first) -> Clip -> GlobalAveragePool -> Flatten -> Gemm -> y."""
    node = onnx.helper.make_node
    return build(
        [
            conv("c1", "x", "w1", "b1", pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"], name="r1"),
            conv("c2", "r1", "w2", pads=[1, 1, 1, 1]),
            node("Add", ["c2", "r1"], ["a"], name="a"),
            node("Clip", ["a", "zero", "six"], ["k"], name="k"),
            node("GlobalAveragePool", ["k"], ["p"], name="p"),
            node("Flatten", ["p"], ["f"], name="f"),
            node("Gemm", ["f", "w3", "b3"], ["y"], name="g", transB=1),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {
            "w1": weights(1, 8, 3, 3, 3),
            "b1": weights(2, 8),
            "w2": weights(3, 8, 8, 3, 3),
            "w3": weights(4, 10, 8),
            "b3": weights(5, 10),
            "zero": np.array(0, np.float32),
            "six": np.array(6, np.float32),
        },
    )


def samples(count: int = 16) -> np.ndarray:
    """Inputs for `small_net`."""
    return np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(np.float32)


def runtime_ops(model: Model, *, signed: bool = False) -> Counter[str]:
    """What a model consists of once ONNX Runtime has optimized it: op types and how many there are.

    `signed` keeps 8-bit signed activations, as builds for Arm do; on x86 they would be turned into unsigned ones.
    """
    options = ort.SessionOptions()
    if signed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        ort.InferenceSession(model.to_proto().SerializeToString(), options)
        return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
