"""Every row of LiteRT's tables, as a layer with Q/DQ: the file computes what ONNX Runtime computes with it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_layers import Layer, quantized
from lite_nodes import Fixed
from onnx_text import weight

from pruna_ir.analysis.qdq import params_of
from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Target
from pruna_ir.targets.tflite import TFLITE, TFLITE_INT16

IMAGE = weight(1, 8, 12, 14, seed=1)
OTHER = weight(1, 8, 12, 14, seed=2)
ROWS = weight(40, 24, seed=1)
SAME = {"pads": [1, 1, 1, 1]}


def real(*shape: int, seed: int = 5) -> Fixed:
    return Fixed(weight(*shape, seed=seed) * 0.3, np.float32)


LAYERS: dict[str, list[Layer]] = {
    "Conv": [
        Layer("Conv", (IMAGE, real(16, 8, 3, 3), real(16)), SAME),
        Layer("Conv", (IMAGE, real(16, 8, 3, 3), real(16)), {**SAME, "strides": [2, 2]}, behind="Relu"),
        Layer("Conv", (IMAGE, real(16, 8, 1, 1))),
        Layer("Conv", (IMAGE, real(8, 1, 3, 3), real(8)), {**SAME, "group": 8}),
        Layer("Conv", (IMAGE, real(16, 4, 3, 3), real(16)), {"group": 2}),
        Layer("Conv", (weight(1, 8, 40, seed=1), real(6, 8, 5), real(6)), {"pads": [2, 1]}),
    ],
    "ConvTranspose": [
        Layer("ConvTranspose", (IMAGE, real(8, 6, 3, 3), real(6)), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        Layer("ConvTranspose", (IMAGE, real(8, 6, 2, 2)), {"strides": [2, 2]}),
    ],
    "Gemm": [
        Layer("Gemm", (ROWS, real(10, 24), real(10)), {"transB": 1}),
        Layer("Gemm", (ROWS, real(24, 10)), behind="Relu"),
    ],
    "MatMul": [
        Layer("MatMul", (weight(2, 6, 24, seed=1), real(24, 10))),
        Layer("MatMul", (weight(2, 6, 24, seed=1), weight(2, 24, 7, seed=2))),
    ],
    "Add": [
        Layer("Add", (IMAGE, OTHER), behind="Relu"),
        Layer("Add", (IMAGE, weight(8, 1, 1, seed=3))),
    ],
    "Sub": [Layer("Sub", (IMAGE, OTHER))],
    "Mul": [Layer("Mul", (IMAGE, OTHER)), Layer("Mul", (IMAGE, weight(1, 8, 1, 1, seed=3)))],
    "PRelu": [Layer("PRelu", (IMAGE, weight(8, 1, 1, seed=3)))],
    "Relu": [Layer("Relu", (IMAGE,))],
    "Clip": [Layer("Clip", (IMAGE, Fixed(-1.0, np.float32), Fixed(2.0, np.float32)))],
    "LeakyRelu": [Layer("LeakyRelu", (IMAGE,), {"alpha": 0.1})],
    "Elu": [Layer("Elu", (IMAGE,))],
    "Gelu": [Layer("Gelu", (IMAGE,)), Layer("Gelu", (IMAGE,), {"approximate": "tanh"})],
    "HardSwish": [Layer("HardSwish", (IMAGE * 3,))],
    "Abs": [Layer("Abs", (IMAGE,))],
    "Exp": [Layer("Exp", (IMAGE,))],
    "Sigmoid": [Layer("Sigmoid", (IMAGE * 2,))],
    "Softmax": [Layer("Softmax", (ROWS * 2,)), Layer("Softmax", (IMAGE * 2,), {"axis": 1})],
    "LogSoftmax": [Layer("LogSoftmax", (ROWS,))],
    "Tanh": [Layer("Tanh", (IMAGE,))],
    "LpNormalization": [Layer("LpNormalization", (ROWS,)), Layer("LpNormalization", (IMAGE,), {"axis": 1})],
    "GlobalAveragePool": [Layer("GlobalAveragePool", (IMAGE + 1,))],
    "ReduceMean": [
        Layer("ReduceMean", (IMAGE + 1, Fixed([2, 3]))),
        Layer("ReduceMean", (IMAGE + 1, Fixed([1])), {"keepdims": 0}),
    ],
    "ReduceSum": [Layer("ReduceSum", (IMAGE, Fixed([2, 3])))],
    "ReduceMax": [Layer("ReduceMax", (IMAGE, Fixed([1])), {"keepdims": 0})],
    "AveragePool": [
        Layer("AveragePool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2]}),
        Layer("AveragePool", (IMAGE,), {"kernel_shape": [3, 3], **SAME}),
    ],
    "MaxPool": [
        Layer("MaxPool", (IMAGE,), {"kernel_shape": [3, 3], "strides": [2, 2], **SAME}),
        Layer("MaxPool", (IMAGE,), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ],
    "Concat": [Layer("Concat", (IMAGE, OTHER), {"axis": 1})],
    "Max": [Layer("Max", (IMAGE, OTHER))],
    "Min": [Layer("Min", (IMAGE, OTHER))],
    "Where": [Layer("Where", (IMAGE > 0, IMAGE, OTHER))],
    "Reshape": [Layer("Reshape", (IMAGE, Fixed([8, -1])))],
    "Transpose": [Layer("Transpose", (IMAGE,), {"perm": [0, 2, 1, 3]})],
    "Flatten": [Layer("Flatten", (IMAGE,))],
    "Squeeze": [Layer("Squeeze", (IMAGE, Fixed([0])))],
    "Unsqueeze": [Layer("Unsqueeze", (IMAGE, Fixed([1])))],
    "Slice": [Layer("Slice", (IMAGE, Fixed([1, 2]), Fixed([7, 13]), Fixed([1, 3]), Fixed([2, 3])))],
    "Split": [Layer("Split", (IMAGE,), {"axis": 1, "num_outputs": 2}, outputs=2)],
    "Gather": [Layer("Gather", (IMAGE, Fixed([3, 0, 5])), {"axis": 1})],
    "GatherND": [Layer("GatherND", (IMAGE, Fixed([[0, 3], [0, 1]])))],
    "Tile": [Layer("Tile", (IMAGE, Fixed([1, 2, 1, 2])))],
    "Expand": [Layer("Expand", (weight(1, 8, 1, 5, seed=1), Fixed([2, 8, 3, 5])))],
    "DepthToSpace": [
        Layer("DepthToSpace", (IMAGE,), {"blocksize": 2}),
        Layer("DepthToSpace", (IMAGE,), {"blocksize": 2, "mode": "CRD"}),
    ],
    "SpaceToDepth": [Layer("SpaceToDepth", (IMAGE,), {"blocksize": 2})],
    "Pad": [
        Layer("Pad", (IMAGE, Fixed([0, 0, 1, 2, 0, 0, 2, 1]))),
        Layer("Pad", (IMAGE, Fixed([0, 0, 1, 2, 0, 0, 2, 1])), {"mode": "reflect"}),
    ],
    "Resize": [
        Layer("Resize", (IMAGE, None, Fixed([1, 1, 2, 2], np.float32)), {"mode": "nearest"}),
        Layer("Resize", (IMAGE, None, Fixed([1, 1, 2, 2], np.float32)), {"mode": "linear"}),
    ],
}
# Steps that values may be off, of one. Kernels of 16 bits interpolate some functions between the points of a table.
STEPS = {("Tanh", "tflite-int16"): 2, ("Softmax", "tflite-int16"): 3}


def cases(target: Target) -> list[Layer]:
    return [layer for op in target.ops for layer in LAYERS[op]]


def label(layer: Layer) -> str:
    return f"{layer.op}{dict(layer.attributes)}{layer.behind}".replace(" ", "")


def test_every_row_has_a_layer() -> None:
    assert LAYERS.keys() == TFLITE.ops.keys()


@pytest.mark.parametrize("delegate", [True, False], ids=["xnnpack", "kernels"])
@pytest.mark.parametrize("layer", cases(TFLITE), ids=label)
def test_int8(layer: Layer, delegate: bool) -> None:
    check(layer, TFLITE, delegate)


@pytest.mark.parametrize("delegate", [True, False], ids=["xnnpack", "kernels"])
@pytest.mark.parametrize("layer", cases(TFLITE_INT16), ids=label)
def test_int16(layer: Layer, delegate: bool) -> None:
    check(layer, TFLITE_INT16, delegate)


def check(layer: Layer, target: Target, delegate: bool) -> None:
    model, feeds = quantized(layer, target)
    legal = legalize(model)
    program = lower(legal)
    assert not program.remarks, "\n".join(map(str, program.remarks))
    float_tensors = [operator for operator in program.operators if operator.code == "DEQUANTIZE"]
    assert len(float_tensors) == len(program.outputs)
    wanted = Session(model, optimize=False).run(feeds)
    found = LiteSession(write(program), delegate=delegate).run(feeds)
    steps = {node.outputs[0].name: params_of(node) for node in model.graph.nodes if node.op == "DequantizeLinear"}
    for name, values in wanted.items():
        params = steps[name]
        assert params is not None and found[name].shape == values.shape
        off = np.rint(np.abs(found[name] - values) / params.scale)
        assert off.max() <= STEPS.get((layer.op, target.name), 1), f"{off.max()} steps, {(off > 1).mean()} of them > 1"
