"""Slice -> Slice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.join_slices import JoinSlices
from pruna_ir.testing import check_pass, missed, ops

FAR = 2**31 - 1


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def constants(**named: int) -> dict[str, Any]:
    return {name: ints(number) for name, number in named.items()}


PAIR = "t = Slice(x, s, e, a) y = Slice(t, s, f, b)"
NUMBERS = constants(s=1, e=7, f=3, a=0, b=1)


@pytest.mark.parametrize("shape", ["8,4", "N,M"])
def test_different_axes(shape: str) -> None:
    after, result = check_pass(
        JoinSlices(),
        model_from(f"g (float[{shape}] x) => (float[A,B] y) {{ {PAIR} }}", **NUMBERS),
        feeds={"x": weight(8, 4)},
        tolerance=0,
    )
    assert ops(after) == ["Slice"]
    assert [list(tensor.values) for tensor in after.graph.nodes[0].inputs[1:]] == [[1, 1], [7, 3], [0, 1], [1, 1]]
    assert result.counts == {"join-slices": 1}


def test_same_axis() -> None:
    body = "t = Slice(x, s, e) y = Slice(t, m, f)"
    model = model_from(f"g (float[8] x) => (float[A] y) {{ {body} }}", **constants(s=1, e=FAR, m=-3, f=-1))
    after, _ = check_pass(JoinSlices(), model, tolerance=0)
    assert [list(tensor.values) for tensor in after.graph.nodes[0].inputs[1:]] == [[5], [7], [0], [1]]


@pytest.mark.parametrize(
    ("shape", "body", "outputs", "reason"),
    [
        ("8,4", PAIR, "float[6,2] y, float[6,4] t", "`t` is an output of the graph"),
        ("8,4", f"{PAIR} z = Neg(t)", "float[6,2] y, float[6,4] z", "`t` has 2 users"),
        ("8,4", "q = Abs(s) t = Slice(x, q, e, a) y = Slice(t, s, f, b)", "float[P,Q] y", "`q` is not a constant"),
        ("N,4", "t = Slice(x, s, e, a) y = Slice(t, s, f, a)", "float[P,4] y",
         "both cut axis 0 of `x`, whose size is not known"),
    ],
)  # fmt: skip
def test_does_not_fire(shape: str, body: str, outputs: str, reason: str) -> None:
    model = model_from(f"g (float[{shape}] x) => ({outputs}) {{ {body} }}", **NUMBERS)
    after, result = check_pass(JoinSlices(), model, feeds={"x": weight(8, 4)})
    assert missed(result) == [reason]
    assert ops(after).count("Slice") == 2


def test_rank_that_is_not_known() -> None:
    model = model_from(f"g (float[32] w, int64[D] d) => (float[P,Q] y) {{ x = Reshape(w, d) {PAIR} }}", **NUMBERS)
    _, result = check_pass(JoinSlices(), model, feeds={"w": weight(32), "d": ints(8, 4)})
    assert missed(result) == ["the rank of `x` is not known"]


def test_shared_bounds_are_left_alone() -> None:
    model = model_from(
        f"g (float[8,4] x) => (float[6,2] y, float[6,4] z) {{ {PAIR} z = Slice(x, s, e, a) }}", **NUMBERS
    )
    after, _ = check_pass(JoinSlices(), model, tolerance=0)
    assert ops(after) == ["Slice", "Slice"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[8,4] x) => (float[6,2] r) {{
        o = Slice(x, s, e, a)
        r = If (p) <
            then_branch = t () => (float[6,2] y) {{ {PAIR} }},
            else_branch = e () => (float[6,2] z) {{ z = Slice(o, s, f, b) }}
        >
    }}"""
    after, result = check_pass(
        JoinSlices(), model_from(text, **NUMBERS), feeds={"p": np.array(True), "x": weight(8, 4)}
    )
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Slice"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


@st.composite
def pairs(draw: st.DrawFn) -> Model:
    """Two Slices of a [5, 6] with any bounds, near and far, in any direction."""
    bound = st.integers(-8, 8) | st.sampled_from([FAR, -FAR])
    named: dict[str, Any] = {}
    lines, last = [], "x"
    for place in range(2):
        axes = draw(st.sampled_from([[0], [1], [-1], [0, 1], [1, 0]]))
        bounds = {name: [draw(bound) for _ in axes] for name in ("s", "e")}
        steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in axes]
        for name, numbers in {**bounds, "a": axes, "p": steps}.items():
            named[f"{name}{place}"] = ints(*numbers)
        lines.append(f"t{place} = Slice({last}, s{place}, e{place}, a{place}, p{place})")
        last = f"t{place}"
    text = f"g (float[5,6] x) => (float[A,B] y) {{ {' '.join(lines)} y = Neg({last}) }}"
    return model_from(text, opset=draw(st.integers(13, 23)), **named)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_random_bounds(model: Model) -> None:
    after, result = check_pass(JoinSlices(), model, tolerance=0)
    backwards = any("backwards" in reason for reason in missed(result))
    assert ops(after) == (["Slice", "Slice", "Neg"] if backwards else ["Slice", "Neg"])


def test_backwards() -> None:
    body = "t = Slice(x, s, e, a, p) y = Slice(t, a, s, a)"
    model = model_from(f"g (float[8] x) => (float[A] y) {{ {body} }}", **constants(s=6, e=0, a=0, p=-1))
    _, result = check_pass(JoinSlices(), model, tolerance=0)
    assert missed(result) == ["both cut axis 0 of `x`, and one of them backwards"]
