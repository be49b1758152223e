"""Activation functions that clip, against ONNX Runtime's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node
from onnx_text import weight

DATA = weight(2, 3, 4, 5, seed=1) * 4


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, None, ["RELU"]),
        (0.0, 6.0, ["RELU6"]),
        (-1.0, 1.0, ["RELU_N1_TO_1"]),
        (0.0, 1.0, ["MAXIMUM", "MINIMUM"]),
        (-2.0, 1.5, ["MAXIMUM", "MINIMUM"]),
        (None, 1.5, ["MINIMUM"]),
        (-0.5, None, ["MAXIMUM"]),
        (None, None, ["RESHAPE"]),
    ],
)
def test_clip(low: float | None, high: float | None, expected: list[str]) -> None:
    bounds = [None if bound is None else Fixed(bound, np.float32) for bound in (low, high)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    assert agrees(*node("Clip", DATA, *bounds)) == expected


def test_clip_of_integers() -> None:
    values = np.arange(-6, 6, dtype=np.int32)
    assert agrees(*node("Clip", values, Fixed(-2, np.int32), Fixed(3, np.int32))) == ["MAXIMUM", "MINIMUM"]


def test_computed_bounds() -> None:
    bounds = [np.array(value, np.float32) for value in (-1.5, 2.0)]
    assert agrees(*node("Clip", DATA, *bounds)) == ["MAXIMUM", "MINIMUM"]
    assert agrees(*node("Clip", DATA, None, bounds[1])) == ["MINIMUM"]


@pytest.mark.parametrize(
    ("op", "code"), [("Relu", "RELU"), ("Sigmoid", "LOGISTIC"), ("Tanh", "TANH"), ("LeakyRelu", "LEAKY_RELU")]
)
def test_functions_with_an_operator_of_their_own(op: str, code: str) -> None:
    assert agrees(*node(op, DATA)) == [code]
