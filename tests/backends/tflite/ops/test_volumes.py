"""Convolutions and pooling over three axes, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")

import numpy as np
from lite_nodes import Fixed, agrees, node
from onnx_text import weight

IMAGE = (2, 4, 5, 7, 6)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1, 1, 1, 1, 1]},
        {"pads": [0, 1, 2, 1, 0, 1], "strides": [1, 2, 2]},
        {"dilations": [1, 2, 2]},
        {"strides": [2, 2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2, 2], "auto_pad": "SAME_LOWER"},
    ],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution(attributes: dict[str, Any], groups: int) -> None:
    filters = Fixed(weight(6, 4 // groups, 2, 3, 3), np.float32)
    agrees(*node("Conv", weight(*IMAGE), filters, Fixed(weight(6, seed=1), np.float32), group=groups, **attributes))


def test_no_bias() -> None:
    assert agrees(*node("Conv", weight(*IMAGE), Fixed(weight(6, 4, 1, 1, 1), np.float32))).count("CONV_3D") == 1


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {}),
        ("MaxPool", {"strides": [1, 2, 2], "pads": [0, 1, 1, 1, 0, 1]}),
        ("AveragePool", {}),
        ("AveragePool", {"strides": [1, 2, 2], "pads": [0, 1, 1, 1, 0, 1]}),
        ("AveragePool", {"pads": [0, 1, 1, 1, 0, 1], "count_include_pad": 1}),
    ],
)
def test_pooling(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, weight(*IMAGE), kernel_shape=[2, 3, 2], **attributes))


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool"])
def test_global_pooling(op: str) -> None:
    agrees(*node(op, weight(*IMAGE)))
