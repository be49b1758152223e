"""x / length of x -> LpNormalization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from decomposed import numbered
from onnx_text import weight

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_l2_norm import RecognizeL2Norm
from pruna_ir.targets import Target
from pruna_ir.testing import check_pass, missed, ops

TARGET: Target = replace(registry.target("ort-cpu"), slow_ops=frozenset())


def unit(body: str) -> Model:
    constants: dict[str, Any] = {"last": np.array([-1]), "two": np.array([0, 1]), "full": np.array([3, 8])}
    text = f"g (float[3,8] x) => (float[3,8] y) {{ {body} }}"
    return numbered(text, opset=18, **constants)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "n = ReduceL2(x, last) c = Clip(n, #1e-12) y = Div(x, c)",
            "`c` is a length with a limit, which LpNormalization lacks",
        ),
        (
            "n = ReduceL2(x, last) c = Max(n, #1e-12) e = Expand(c, full) y = Div(x, e)",
            "`c` is a length with a limit, which LpNormalization lacks",
        ),
        ("n = ReduceL2(x, two) y = Div(x, n)", "the length is over the axes [0, 1], not one"),
    ],
)
def test_does_not_fire(body: str, reason: str) -> None:
    model = unit(body)
    after, result = check_pass(RecognizeL2Norm(), model, target=TARGET)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


def test_dropped_dimension() -> None:
    text = "g (float[8,8] x) => (float[8,8] y) { n = ReduceL2<keepdims = 0>(x, last) y = Div(x, n) }"
    _, result = check_pass(RecognizeL2Norm(), numbered(text, opset=18, last=np.array([-1])), target=TARGET)
    assert missed(result) == ["`n` drops the dimensions that it reduces"]


def test_first_axis() -> None:
    text = "g (float[n,8] x) => (float[n,8] y) { l = ReduceL2(x, first) y = Div(x, l) }"
    model = numbered(text, opset=18, first=np.array([0]))
    after, _ = check_pass(RecognizeL2Norm(), model, target=TARGET, feeds={"x": weight(3, 8)})
    assert ops(after) == ["LpNormalization"]
    assert after.graph.nodes[0].attrs["axis"] == 0
