"""A straight line between 0 and 1 -> HardSigmoid."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_hard_sigmoid import RecognizeHardSigmoid
from pruna_ir.testing import check_pass, missed, ops

WIDE = np.array([-np.inf, -1e30, -4, -3, -0.5, 0, 0.5, 2.9, 3, 4, 1e30, np.inf], np.float32)


def line(body: str) -> Model:
    return numbered(f"g (float[12] x) => (float[12] y) {{ {body} }}", opset=17)


@pytest.mark.parametrize(
    ("body", "alpha", "beta"),
    [
        ("a = Add(x, #1) b = Clip(a, #0, #2) y = Mul(b, #0.5)", 0.5, 0.5),
        ("m = Mul(x, #3) a = Add(m, #1) b = Clip(a, #0, #2) y = Div(b, #2)", 1.5, 0.5),
        ("m = Div(x, #4) a = Add(#0.25, m) y = Clip(a, #0, #1)", 0.25, 0.25),
        ("a = Add(x, #0.5) y = Clip(a, #0, #1)", 1.0, 0.5),
        ("m = Mul(x, #-0.2) a = Add(m, #0.5) y = Clip(a, #0, #1)", -0.2, 0.5),
    ],
)
def test_slope_and_shift(body: str, alpha: float, beta: float) -> None:
    after, _ = check_pass(RecognizeHardSigmoid(), line(body), feeds={"x": WIDE})
    (node,) = after.graph.nodes
    assert dict(node.attrs) == pytest.approx({"alpha": alpha, "beta": beta})


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, #3) y = Clip(a, #0, #6)",
        "a = Add(x, #3) b = Clip(a, #0, #6) y = Div(b, #5)",
        "a = Add(x, #3) b = Clip(a, #-1, #6) y = Div(b, #6)",
        "a = Add(x, x) y = Clip(a, #0, #1)",
        "y = Clip(x, #0, #1)",
        "a = Add(x, #3) b = Clip(a, #0) y = Mul(b, #1)",
    ],
)
def test_no_match(body: str) -> None:
    model = line(body)
    after, result = check_pass(RecognizeHardSigmoid(), model)
    assert ops(after) == ops(model)
    assert missed(result) == []
