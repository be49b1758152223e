"""x * HardSigmoid(x) -> HardSwish."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize import Recognize
from pruna_ir.passes.recognition.recognize_hard_swish import RecognizeHardSwish
from pruna_ir.testing import check_pass, missed, ops


def swish(body: str) -> Model:
    return numbered(f"g (float[12] x) => (float[12] y) {{ {body} }}", opset=17)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = HardSigmoid(x) y = Mul(x, a)", "the HardSigmoid has alpha=0.2, not 0.1666667"),
        ("a = HardSigmoid<alpha = 0.16666667, beta = 0.4>(x) y = Mul(x, a)", "the HardSigmoid has beta=0.4, not 0.5"),
        ("a = Add(x, #3) b = Clip(a, #0, #5) c = Mul(x, b) y = Div(c, #6)", "`k_5` is 5, not 6"),
        ("a = Add(x, #2) b = Clip(a, #0, #6) c = Mul(x, b) y = Div(c, #6)", "`k_2` is 2, not 3"),
        ("a = Add(x, #3) b = Clip(a, #0, #6) y = Mul(x, b)", "`y` has the factor 1, not 0.1666667"),
    ],
)
def test_other_constants_stay(body: str, reason: str) -> None:
    model = swish(body)
    after, result = check_pass(RecognizeHardSwish(), model)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


def test_with_the_hard_sigmoid_still_to_be_found() -> None:
    model = swish("a = Add(x, #3) b = Clip(a, #0, #6) c = Div(b, #6) y = Mul(x, c)")
    after, _ = check_pass(Recognize(), model, feeds={"x": np.linspace(-6, 6, 12, dtype=np.float32)})
    assert ops(after) == ["HardSwish"]
