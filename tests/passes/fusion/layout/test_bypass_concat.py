"""Concat -> the Slice that takes one of its inputs out again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.passes.fusion.layout.bypass_concat import BypassConcat
from pruna_ir.testing import check_pass, missed, ops

INPUTS = "float[n,2] a, float[n,3] b"
JOINT = "t = Concat <axis: int = 1> (a, b)"


def numbers(**named: int) -> dict[str, Any]:
    return {name: np.array([number], np.int64) for name, number in named.items()}


BOUNDS = numbers(zero=0, one=1, two=2, far=2**31 - 1, last=-1, back=-3)


@pytest.mark.parametrize("bounds", ["two, far, one", "back, far, last", "two, far, one, one"])
def test_fires(bounds: str) -> None:
    text = f"g ({INPUTS}) => (float[n,3] y) {{ {JOINT} s = Slice(t, {bounds}) y = Neg(s) }}"
    after, result = check_pass(BypassConcat(), model_from(text, **BOUNDS), tolerance=0)
    assert ops(after) == ["Neg"]
    assert after.graph.nodes[0].inputs[0].name == "b"
    assert result.counts == {"bypass-concat": 1}


def test_concat_stays_for_others_and_output_keeps_its_name() -> None:
    text = f"""g ({INPUTS}) => (float[n,2] y, float[n,5] z)
        {{ r = Exp(a) t = Concat <axis: int = 1> (r, b) y = Slice(t, zero, two, one) z = Neg(t) }}"""
    after, _ = check_pass(BypassConcat(), model_from(text, **BOUNDS), tolerance=0)
    assert ops(after) == ["Exp", "Concat", "Neg"]


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (f"{JOINT} y = Slice(t, zero, two, one)", "float[n,2] y", "the output `y` is the input `a`"),
        (f"{JOINT} y = Slice(t, one, two, one)", "float[n,1] y", "1:2 of `t` is not one of its parts"),
        (f"{JOINT} y = Slice(t, zero, two, zero)", "float[m,5] y",
         "axis 0 of `t` is not the one it is concatenated along"),
        (f"{JOINT} y = Slice(t, zero, two, one, two)", "float[n,1] y",
         "`y` does not cut one axis forwards by constants"),
        (f"{JOINT} k = Abs(zero) y = Slice(t, k, two, one)", "float[n,m] y",
         "`y` does not cut one axis forwards by constants"),
        ("t = Concat <axis: int = 0> (a, a) y = Slice(t, zero, two, zero)", "float[m,2] y",
         "the sizes of the parts of `t` are not all known"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    _, result = check_pass(BypassConcat(), model_from(f"g ({INPUTS}) => ({outputs}) {{ {body} }}", **BOUNDS))
    assert missed(result) == [reason]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[4,2] a, float[4,3] b) => (float[4,3] r) {{
        {JOINT}
        r = If (p) <
            then_branch = u () => (float[4,3] y) {{ s = Slice(t, two, far, one) y = Neg(s) }},
            else_branch = e () => (float[4,3] z) {{ z = Slice(t, two, far, one) }}
        >
    }}"""
    feeds = {"p": np.array(True), "a": weight(4, 2), "b": weight(4, 3)}
    after, result = check_pass(BypassConcat(), model_from(text, **BOUNDS), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Neg"]
    assert missed(result) == ["the output `z` is the input `b`"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(-9, 9), st.integers(-9, 9), st.integers(13, 23))
def test_random_cuts(sizes: list[int], start: int, end: int, opset: int) -> None:
    inputs = ", ".join(f"float[2,{size}] x{place}" for place, size in enumerate(sizes))
    names = ", ".join(f"x{place}" for place in range(len(sizes)))
    body = f"t = Concat <axis: int = -1> ({names}) s = Slice(t, a, b, c) y = Neg(s)"
    model = model_from(f"g ({inputs}) => (float[2,K] y) {{ {body} }}", opset=opset, **numbers(a=start, b=end, c=1))
    after, result = check_pass(BypassConcat(), model, tolerance=0)
    assert ops(after) == (["Neg"] if result.changed else ["Concat", "Slice", "Neg"])
