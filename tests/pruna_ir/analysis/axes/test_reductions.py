"""Axes of pooling, resizing and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from axis_checks import check_groups, described
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import analyze
from pruna_ir.model import Model


def between(nodes: str, outputs: str = "float[n,2,k,l] y", *, opset: int = 17, **weights: Any) -> Model:
    """Two convolutions around nodes from `h` to `r`."""
    text = f"g (float[n,3,6,6] x) => ({outputs}) {{ h = Conv(x, a) {nodes} y = Conv(r, c) }}"
    return model_from(text, opset=opset, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1), **weights)


@pytest.mark.parametrize(
    "nodes",
    [
        "r = MaxPool<kernel_shape=[2,2]>(h)",
        "r = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(h)",
        "r = GlobalAveragePool(h)",
        "r = GlobalMaxPool(h)",
        "r = ReduceMean<axes=[2,3]>(h)",
        "r = Resize(h, none, scales)",
        'r = Resize<mode="linear">(h, none, none, sizes)',
        "r = Resize(h, none, none, same)",
    ],
)
def test_channels_pass(nodes: str) -> None:
    constants: dict[str, Any] = {
        "none": np.empty(0, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "sizes": np.array([1, 8, 12, 9]),
        "same": np.array([1, 8, 6, 6]),
    }
    model = between(nodes, **{name: values for name, values in constants.items() if name in nodes})
    model.graph.inputs[0].shape[0] = 1
    assert described(check_groups(model))["h"] == 8


def test_named_axes_of_a_resize() -> None:
    model = between("r = Resize<axes=[2,3]>(h, , scales)", opset=18, scales=np.array([2, 2], np.float32))
    assert described(check_groups(model))["h"] == 8


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("r, places = MaxPool<kernel_shape=[2,2]>(h) p = Cast<to=1>(places)", "of which its rule says nothing"),
        ("r = LRN<size=3>(h)", "`r` (LRN) sums over neighbouring channels"),
        ('r = Resize<coordinate_transformation_mode="tf_crop_and_resize">(h, roi, scales)', "crops"),
        ("t = Identity(scales) r = Resize(h, roi, t)", "resizes to what is computed"),
        ("i, j = TopK<axis=1>(h, eight) r = Identity(i)", "`i` (TopK)"),
    ],
)
def test_channels_stay(nodes: str, reason: str) -> None:
    constants: dict[str, Any] = {
        "roi": np.zeros(8, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "eight": np.array([8]),
    }
    model = between(nodes, **{name: values for name, values in constants.items() if name in nodes})
    assert reason in str(described(analyze(model))["h"])


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("keep", [0, 1])
def test_reduction_over_channels(op: str, keep: int) -> None:
    axes, inputs = ("", "h, axes") if op == "ReduceSum" else (", axes=[1]", "h")
    shape = "n,1,6,6" if keep else "n,6,6"
    text = f"g (float[n,3,6,6] x) => (float[{shape}] y) {{ h = Conv(x, a) y = {op}<keepdims={keep}{axes}>({inputs}) }}"
    constants: dict[str, Any] = {"axes": np.array([1])} if op == "ReduceSum" else {}
    (group,) = check_groups(model_from(text, a=weight(8, 3, 1, 1), **constants)).free
    assert group.size == 8
    assert group.reduces == (() if op == "ReduceSum" else ("y",))
    assert len(group.consumers) == (1 if op == "ReduceSum" else 0)


def test_sum_into_a_classifier() -> None:
    nodes = "h = Conv(x, a) m = ReduceMean<axes=[-2,-1], keepdims=0>(h) y = MatMul(m, c)"
    text = f"g (float[n,3,6,6] x) => (float[n,2] y) {{ {nodes} }}"
    assert described(check_groups(model_from(text, a=weight(8, 3, 1, 1), c=weight(8, 2))))["h"] == 8


def test_computed_axes_stay() -> None:
    model = between("i = Identity(axes) m = ReduceSum(h, i) r = Add(h, m)", axes=np.array([2]))
    assert "reduces over axes that are computed" in str(described(analyze(model))["h"])
