"""Operators between convolutions work where the channels are the last axis: right, and without moving anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import onnx
from lite_nodes import agrees
from onnx_text import model_from

from pruna_ir.model import Model

CHANNELS = 4


def between_convolutions(op: str, constants: list[np.ndarray], channels: int = CHANNELS, **attributes: Any) -> Model:
    """Conv -> op -> Conv; the second has as many channels as the op leaves."""
    random = np.random.default_rng(0)
    weights = [random.normal(size=(CHANNELS, 3, 3, 3)), random.normal(size=(2, channels, 1, 1))]
    stored = {"w0": weights[0].astype(np.float32), "w1": weights[1].astype(np.float32)}
    stored |= {f"c{place}": values for place, values in enumerate(constants)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node(op, ["a", *(f"c{place}" for place in range(len(constants)))], ["b"], **attributes),
        onnx.helper.make_node("Conv", ["b", "w1"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 6, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        initializer=[onnx.numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return Model.load(onnx.shape_inference.infer_shapes(proto))


def ints(*values: Any) -> np.ndarray:
    """A list of whole numbers."""
    return np.array(values, np.int64)


def floats(*shape: int) -> np.ndarray:
    """Positive numbers."""
    return np.random.default_rng(1).uniform(0.5, 2, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("op", "constants", "channels", "attributes"),
    [
        ("Mish", [], CHANNELS, {}),
        ("Erf", [], CHANNELS, {}),
        ("Selu", [], CHANNELS, {}),
        ("HardSigmoid", [], CHANNELS, {}),
        ("PRelu", [floats(CHANNELS, 1, 1)], CHANNELS, {}),
        ("Max", [floats(CHANNELS, 1, 1)], CHANNELS, {}),
        ("Pow", [floats(CHANNELS, 1, 1)], CHANNELS, {}),
        ("Max", [floats(8)], CHANNELS, {}),
        ("Min", [floats(6, 1), floats(1, CHANNELS, 1, 1)], CHANNELS, {}),
        ("ReduceMax", [ints(1)], 1, {}),
        ("ReduceMean", [ints(2, 3)], CHANNELS, {}),
        ("ReduceL2", [ints(-3)], 1, {}),
        ("ReduceLogSumExp", [ints(3)], CHANNELS, {}),
        ("Slice", [ints(1), ints(3), ints(1)], 2, {}),
        ("Slice", [ints(1, 0), ints(6, 8), ints(2, 3), ints(2, 3)], CHANNELS, {}),
        ("Slice", [ints(-1), ints(-9), ints(3), ints(-1)], CHANNELS, {}),
        ("Tile", [ints(1, 2, 1, 3)], 2 * CHANNELS, {}),
        ("Gather", [ints(2, 0, 1)], 3, {"axis": 1}),
        ("Gather", [ints(2, 0, 1)], CHANNELS, {"axis": -1}),
        ("Softmax", [], CHANNELS, {"axis": 1}),
        ("LogSoftmax", [], CHANNELS, {"axis": 1}),
        ("LpNormalization", [], CHANNELS, {"axis": 1}),
        ("LRN", [], CHANNELS, {"size": 3}),
        ("InstanceNormalization", [floats(CHANNELS), floats(CHANNELS)], CHANNELS, {}),
        ("DepthToSpace", [], 1, {"blocksize": 2}),
        ("SpaceToDepth", [], 4 * CHANNELS, {"blocksize": 2}),
        ("CumSum", [ints(1).reshape(())], CHANNELS, {}),
    ],
)
def test_nothing_moves(op: str, constants: list[np.ndarray], channels: int, attributes: dict[str, Any]) -> None:
    model = between_convolutions(op, constants, channels, **attributes)
    feeds = {"x": np.random.default_rng(2).normal(size=(1, 3, 6, 8)).astype(np.float32)}
    assert agrees(model, feeds).count("TRANSPOSE") <= 2  # at the border of the graph


@pytest.mark.parametrize("axis", [2, 3])
def test_softmax_along_space(axis: int) -> None:
    model = between_convolutions("Softmax", [], axis=axis)
    agrees(model, {"x": np.random.default_rng(2).normal(size=(1, 3, 6, 8)).astype(np.float32)})


def test_pixel_shuffle() -> None:
    model = between_convolutions("DepthToSpace", [], 1, blocksize=2, mode="CRD")
    agrees(model, {"x": np.random.default_rng(2).normal(size=(1, 3, 6, 8)).astype(np.float32)})


def test_place_of_the_largest_channel() -> None:
    """How segmentation ends: no image of all channels is moved."""
    weight = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    text = "g (float[1,3,6,8] x) => (int64[1,1,4,6] y) { a = Conv(x, w) y = ArgMax<axis=1, keepdims=1>(a) }"
    model = model_from(text, w=weight)
    feeds = {"x": np.random.default_rng(2).normal(size=(1, 3, 6, 8)).astype(np.float32)}
    assert agrees(model, feeds).count("TRANSPOSE") == 1
