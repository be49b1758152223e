"""(x - mean) / deviation over space -> InstanceNormalization."""

from __future__ import annotations

import pytest
from decomposed import numbered
from onnx_text import positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize import Recognize
from pruna_ir.passes.recognition.recognize_instance_norm import RecognizeInstanceNorm
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, largest_difference, missed, ops

NORM = (
    "m = ReduceMean<axes = [2, 3]>(x) c = Sub(x, m) p = Mul(c, c) v = ReduceMean<axes = [2, 3]>(p) w = Add(v, #0.001)"
    " s = Sqrt(w) z = Div(c, s)"
)


def norm(shape: str, body: str = NORM, **weights: object) -> Model:
    text = f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} y = Mul(z, k) }}"
    return numbered(text, opset=17, **{"k": positive(3, 1, 1), **weights})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["2,3,4,5", "n,3,h,w"])
def test_scale_moves_in(shape: str) -> None:
    model = norm(shape)
    before = model.clone()
    PassManager.parse("recognize,fuse").run(model)
    assert ops(model) == ["InstanceNormalization"]
    assert largest_difference(before, model) < 1e-6


def test_along_one_axis_of_unknown_size() -> None:
    body = NORM.replace("[2, 3]", "[2]")
    model = norm("n,3,l", body, k=positive(3, 1))
    after, _ = check_pass(Recognize(), model, feeds={"x": weight(2, 3, 7)})
    assert ops(after) == ["InstanceNormalization", "Mul"]
    after, _ = check_pass(Recognize(), norm("n,3,8", body, k=positive(8)), feeds={"x": weight(2, 3, 8)})
    assert ops(after) == ["LayerNormalization", "Mul"]


def test_unknown_channels() -> None:
    _, result = check_pass(RecognizeInstanceNorm(), norm("n,c,h,w"), feeds={"x": weight(2, 3, 4, 5)})
    assert missed(result) == ["the number of channels of `x` is not known"]
