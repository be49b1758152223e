"""x * P(X < x) -> Gelu."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_gelu import RecognizeGelu
from pruna_ir.testing import check_pass, missed, ops

ERF = "a = Div(x, #1.4142135) e = Erf(a) f = Add(e, #1) m = Mul(x, f) y = Mul(m, #0.5)"
TANH = (
    "p = Pow(x, #3) q = Mul(p, #0.044715) r = Add(x, q) s = Mul(r, #0.7978845608) t = Tanh(s) f = Add(t, #1)"
    " m = Mul(x, f) y = Mul(m, #0.5)"
)


def gelu(body: str) -> Model:
    return numbered(f"g (float[n,8] x) => (float[n,8] y) {{ {body} }}", opset=20)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ERF.replace("#0.5", "#0.25"), "`y` has the factor 0.25, not 0.5"),
        (ERF.replace("#1)", "#1.5)"), "`k_1_5` is 1.5, not 1"),
        (ERF.replace("#1.4142135", "#1.42"), "`a` has the factor 0.7042254, not 0.7071068"),
        (TANH.replace("#0.044715", "#0.0447"), "`q` has the factor 0.0447, not 0.044715"),
        (TANH.replace("#3", "#2"), "`k_2` is 2, not 3"),
        (TANH.replace("#0.7978845608", "#0.8"), "`s` has the factor 0.8, not 0.7978846"),
    ],
)
def test_other_constants_stay(body: str, reason: str) -> None:
    model = gelu(body)
    after, result = check_pass(RecognizeGelu(), model)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


@pytest.mark.parametrize(
    "body",
    [
        ERF.replace("Div(x, #1.4142135)", "Div(z, #1.4142135)"),
        ERF.replace("Mul(x, f)", "Mul(z, f)"),
        "a = Sigmoid(x) y = Mul(x, a)",
        "a = Mul(x, #1.702) b = Sigmoid(a) y = Mul(x, b)",
        "a = Tanh(x) b = Add(a, #1) y = Mul(x, b)",
    ],
)
def test_other_idioms_are_no_match(body: str) -> None:
    after, result = check_pass(RecognizeGelu(), gelu(f"z = Neg(x) {body} u = Abs(z)"))
    assert "Gelu" not in ops(after)
    assert missed(result) == []


def test_constants_of_half_precision() -> None:
    text = f"g (float16[8] x) => (float16[8] y) {{ {TANH} }}"
    feeds = {"x": np.linspace(-4, 4, 8).astype(np.float16)}
    after, _ = check_pass(RecognizeGelu(), numbered(text, "float16", opset=20), feeds=feeds, tolerance=2e-3)
    assert ops(after) == ["Gelu"]


def test_finite_everywhere() -> None:
    feeds = {"x": np.array([[-3e38, -100, -6, -1e-30, 0, 6, 100, 1e38]], np.float32)}
    after, _ = check_pass(RecognizeGelu(), gelu(ERF), feeds=feeds)
    assert ops(after) == ["Gelu"]


def test_two_in_a_row() -> None:
    second = ERF.replace("x", "y").replace("y = ", "z = ")
    for name in "aefm":
        second = (
            second.replace(f"{name} = ", f"{name}2 = ")
            .replace(f"({name},", f"({name}2,")
            .replace(f"({name})", f"({name}2)")
        )
    second = second.replace(", f)", ", f2)")
    model = numbered(f"g (float[8] x) => (float[8] z) {{ {ERF} {second} }}", opset=20)
    after, result = check_pass(RecognizeGelu(), model)
    assert ops(after) == ["Gelu", "Gelu"]
    assert result.counts == {"recognize-gelu": 2}
