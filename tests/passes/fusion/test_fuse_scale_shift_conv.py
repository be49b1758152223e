"""Mul or Div -> Add or Sub -> Conv with padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_scale_shift_conv import FuseScaleShiftConv
from pruna_ir.testing import check_pass, missed, ops

CONV = "y = Conv <pads: ints = [1, 1, 1, 1]> (b, w)"
OUTPUT = "float[N,6,h,v] y"


def network(body: str, outputs: str = OUTPUT, **extra: Any) -> Model:
    weights: dict[str, Any] = {"w": weight(6, 4, 3, 3), "s": positive(4, 1, 1, seed=5), "t": weight(4, 1, 1, seed=6)}
    return model_from(f"g (float[2,4,6,7] x) => ({outputs}) {{ {body} }}", **{**weights, **extra})


@pytest.mark.parametrize("scale", ["Mul(x, s)", "Mul(s, x)", "Div(x, s)"])
@pytest.mark.parametrize("shift", ["Add(a, t)", "Add(t, a)", "Sub(a, t)", "Sub(t, a)"])
def test_fires(scale: str, shift: str) -> None:
    after, result = check_pass(FuseScaleShiftConv(), network(f"a = {scale} b = {shift} {CONV}"))
    assert ops(after) == [shift[:3], "Conv"]
    assert result.counts == {"fuse-scale-shift-conv": 1}


def test_result_is_the_formula() -> None:
    body = f"a = Div(x, s) b = Sub(a, t) {CONV}"
    after, _ = check_pass(FuseScaleShiftConv(), network(body, s=np.float32(255), t=weight(1, 4, 1, 1, seed=6)))
    shift, conv = after.graph.nodes
    np.testing.assert_allclose(shift.inputs[1].values, weight(4, 1, 1, seed=6) * 255, rtol=1e-6)
    np.testing.assert_allclose(conv.inputs[1].values, weight(6, 4, 3, 3) / 255, rtol=1e-6)


def test_groups() -> None:
    body = "a = Mul(x, s) b = Add(a, t) y = Conv <group: int = 2, pads: ints = [1, 1, 1, 1]> (b, w)"
    assert ops(check_pass(FuseScaleShiftConv(), network(body, w=weight(6, 2, 3, 3)))[0]) == ["Add", "Conv"]


def test_shared_weight_is_copied() -> None:
    model = network(f"a = Mul(x, s) b = Add(a, t) {CONV} z = Conv(x, w)", f"{OUTPUT}, float[N,6,p,q] z")
    after, _ = check_pass(FuseScaleShiftConv(), model)
    assert ops(after) == ["Add", "Conv", "Conv"]


@pytest.mark.parametrize(
    ("outputs", "rest", "extra", "reason"),
    [
        (f"{OUTPUT}, float[2,4,6,7] a", "", {}, "`a` is an output of the graph"),
        (f"{OUTPUT}, float[2,4,6,7] b", "", {}, "`b` is an output of the graph"),
        (f"{OUTPUT}, float[2,4,6,7] z", "z = Neg(a)", {}, "`a` has 2 users"),
        (OUTPUT, "", {"s": np.zeros((4, 1, 1), np.float32)}, "a scale of `s` is zero or extreme"),
        (OUTPUT, "", {"s": np.float32(1e9)}, "a scale of `s` is zero or extreme"),
        (OUTPUT, "", {"s": positive(6, 7)}, "`s` of shape [6, 7] is neither a scalar nor one value per channel"),
        (OUTPUT, "", {"t": weight(6, 7)}, "`t` of shape [6, 7] is neither a scalar nor one value per channel"),
    ],
)
def test_does_not_fire(outputs: str, rest: str, extra: dict[str, Any], reason: str) -> None:
    model = network(f"a = Mul(x, s) b = Add(a, t) {CONV} {rest}", outputs, **extra)
    _, result = check_pass(FuseScaleShiftConv(), model)
    assert missed(result) == [reason]
    assert not result.changed


@pytest.mark.parametrize(
    "body",
    ["a = Div(s, x) b = Add(a, t)", "a = Add(x, s) b = Add(a, t)", "a = Add(x, s) b = Mul(a, t)", "b = Add(x, t)"],
)
def test_no_match(body: str) -> None:
    _, result = check_pass(FuseScaleShiftConv(), network(f"{body} {CONV}"), feeds={"x": positive(2, 4, 6, 7)})
    assert missed(result) == []
    assert not result.changed
