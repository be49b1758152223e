"""Slices of one tensor -> Concat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.fuse_roll import FuseRoll
from pruna_ir.testing import check_pass, missed, ops

VALUES = {"zero": 0, "one": 1, "two": 2, "three": 3, "m1": -1, "m3": -3, "far": 2**62}
NUMBERS: dict[str, Any] = {name: np.array([value]) for name, value in VALUES.items()}
ROLL = "a = Slice(x, three, far, one) b = Slice(x, zero, three, one)"
JOIN = "Concat <axis: int = 1> (a, b)"


def model(body: str, interface: str = "(float[2,8,4] x) => (float[p,q,r] y)", opset: int = 17) -> Model:
    return model_from(f"g {interface} {{ {body} }}", opset=opset, **NUMBERS)


@pytest.mark.parametrize(
    ("body", "indices"),
    [
        (f"{ROLL} y = {JOIN}", [3, 4, 5, 6, 7, 0, 1, 2]),
        ("a = Slice(x, m3, far, m1) b = Slice(x, zero, m3, m1) y = Concat <axis: int = -1> (a, b)", [1, 2, 3, 0]),
        ("a = Slice(x, m1, zero, one, m3) b = Slice(x, one, three, one, one) y = Concat <axis: int = 1> (b, a, b)",
         [1, 2, 7, 4, 1, 1, 2]),
        ("a = Slice(x, one, two) b = Slice(x, zero, one) y = Concat <axis: int = 0> (a, b, a)", [1, 0, 1]),
    ],
)  # fmt: skip
def test_fires(body: str, indices: list[int]) -> None:
    after, result = check_pass(FuseRoll(), model(body), tolerance=0)
    assert ops(after) == ["Gather"]
    assert after.graph.nodes[0].inputs[1].values.tolist() == indices
    assert result.counts == {"fuse-roll": 1}


def test_one_part_stays_for_others() -> None:
    body = f"{ROLL} y = {JOIN} z = Neg(a)"
    after, _ = check_pass(FuseRoll(), model(body, "(float[2,8,4] x) => (float[2,8,4] y, float[2,5,4] z)"), tolerance=0)
    assert sorted(ops(after)) == ["Gather", "Neg", "Slice"]


@pytest.mark.parametrize(
    ("body", "interface", "reason"),
    [
        (f"{ROLL} y = {JOIN} z = Neg(a)", "(float[2,8,4] x) => (float[2,8,4] y, float[2,5,4] z, float[2,3,4] b)",
         "others read all parts of `y`"),
        (f"{ROLL} y = {JOIN}", "(float[2,n,4] x) => (float[2,n,4] y)", "axis 1 of `x` is not known as a number"),
        (f"{ROLL} y = {JOIN}", "(float[2,600,4] x) => (float[2,600,4] y)", "600 indices would be stored"),
        ("a = Slice(x, k, far, one) b = Slice(x, zero, k, one) y = Concat <axis: int = 1> (a, b)",
         "(float[2,8,4] x, int64[1] k) => (float[2,n,4] y)", "`k` is not a constant"),
        (f"{ROLL} y = Concat <axis: int = 0> (a, a)", "(float[2,8,4] x) => (float[4,5,4] y)",
         "`a` does not cut axis 0 alone"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, interface: str, reason: str) -> None:
    _, result = check_pass(FuseRoll(), model(body, interface))
    assert missed(result) == [reason]
    assert not result.changed


@pytest.mark.parametrize(
    "body",
    [f"{ROLL} n = Neg(a) y = Concat <axis: int = 1> (n, b)", f"{ROLL} y = Concat <axis: int = 1> (a, x, b)",
     "n = Neg(x) a = Slice(x, three, far, one) b = Slice(n, zero, three, one) y = Concat <axis: int = 1> (a, b)"],
)  # fmt: skip
def test_no_match(body: str) -> None:
    _, result = check_pass(FuseRoll(), model(body))
    assert missed(result) == []
    assert not result.changed


def test_inside_of_a_sub_graph() -> None:
    body = f"""{ROLL} y = If (p) <
        then_branch = t () => (float[2,8,4] u) {{ u = {JOIN} }},
        else_branch = e () => (float[2,8,4] w) {{ c = Slice(x, three, far, one) d = Slice(x, zero, three, one)
            w = Concat <axis: int = 1> (c, d) }} >"""
    feeds = {"p": np.array(False), "x": np.arange(64, dtype=np.float32).reshape(2, 8, 4)}
    after, result = check_pass(
        FuseRoll(), model(body, "(float[2,8,4] x, bool p) => (float[2,8,4] y)"), feeds=feeds, tolerance=0
    )
    assert [node.op for node in after.graph.nodes[-1].attrs["else_branch"].nodes] == ["Gather"]
    assert missed(result) == ["others read all parts of `u`"]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-2, -1, 1, 2])), min_size=2,
                max_size=4), st.integers(13, 24))  # fmt: skip
def test_any_slices(cuts: list[tuple[int, int, int]], opset: int) -> None:
    lines = [f"t{place} = Slice(x, s{place}, e{place}, one, d{place})" for place in range(len(cuts))]
    names = ", ".join(f"t{place}" for place in range(len(cuts)))
    values = {f"{letter}{place}": np.array([value]) for place, cut in enumerate(cuts)
              for letter, value in zip("sed", cut, strict=True)}  # fmt: skip
    text = f"g (float[2,6,3] x) => (float[2,n,3] y) {{ {' '.join(lines)} y = Concat <axis: int = 1> ({names}) }}"
    after, _ = check_pass(FuseRoll(), model_from(text, opset=opset, one=np.array([1]), **values), tolerance=0)
    assert ops(after) == ["Gather"]
