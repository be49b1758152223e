"""Transpose -> Transpose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.join_transposes import JoinTransposes
from pruna_ir.testing import check_pass, missed, ops

TWICE = "t = Transpose <perm: ints = [0, 2, 1]> (x) y = Transpose <perm: ints = [2, 0, 1]> (t)"
BACK = "r = Exp(x) t = Transpose <perm: ints = [1, 2, 0]> (r) s = Transpose <perm: ints = [2, 0, 1]> (t)"


def test_fires() -> None:
    after, result = check_pass(JoinTransposes(), model_from(f"g (float[2,3,4] x) => (float[3,2,4] y) {{ {TWICE} }}"))
    assert ops(after) == ["Transpose"]
    assert result.counts == {"join-transposes": 1}


@pytest.mark.parametrize("shape", ["2,3,4", "N,M,4"])
def test_cancels(shape: str) -> None:
    after, _ = check_pass(
        JoinTransposes(), model_from(f"g (float[{shape}] x) => (float[{shape}] y) {{ {BACK} y = Neg(s) }}")
    )
    assert ops(after) == ["Exp", "Neg"]


def test_cancels_and_the_first_stays_for_others() -> None:
    text = f"g (float[2,3,4] x) => (float[2,3,4] y, float[3,4,2] z, float[3,4,2] t) {{ {BACK} y = Neg(s) z = Neg(t) }}"
    after, _ = check_pass(JoinTransposes(), model_from(text))
    assert ops(after) == ["Exp", "Transpose", "Neg", "Neg"]


def test_cancelled_output_takes_the_name() -> None:
    text = "g (float[2,3] x) => (float[2,3] y) { r = Exp(x) t = Transpose(r) y = Transpose(t) }"
    after, _ = check_pass(JoinTransposes(), model_from(text))
    assert ops(after) == ["Exp"]


def test_output_that_would_be_the_input_keeps_one() -> None:
    text = "g (float[2,3,4] x) => (float[2,3,4] y) { t = Transpose(x) y = Transpose(t) }"
    after, _ = check_pass(JoinTransposes(), model_from(text))
    assert after.graph.nodes[0].attrs["perm"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (TWICE, "float[3,2,4] y, float[2,4,3] t", "`t` is an output of the graph"),
        (f"{TWICE} z = Neg(t)", "float[3,2,4] y, float[2,4,3] z", "`t` has 2 users"),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    after, result = check_pass(JoinTransposes(), model_from(f"g (float[2,3,4] x) => ({outputs}) {{ {body} }}"))
    assert missed(result) == [reason]
    assert ops(after)[:2] == ["Transpose", "Transpose"]


def test_rank_that_is_not_known() -> None:
    body = "r = Reshape(x, s) t = Transpose(r) u = Transpose(t) y = Neg(u)"
    text = f"g (float[6] x, int64[D] s) => (float[3,2] y) {{ {body} }}"
    feeds = {"x": weight(6), "s": np.array([3, 2])}
    _, result = check_pass(JoinTransposes(), model_from(text), feeds=feeds)
    assert missed(result) == ["the rank of `t` is not known"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[2,3,4] x) => (float[3,2,4] r) {{
        o = Transpose <perm: ints = [0, 2, 1]> (x)
        r = If (p) <
            then_branch = t () => (float[3,2,4] y) {{ {TWICE} }},
            else_branch = e () => (float[3,2,4] z) {{ z = Transpose <perm: ints = [2, 0, 1]> (o) }}
        >
    }}"""
    feeds = {"p": np.array(True), "x": weight(2, 3, 4)}
    after, result = check_pass(JoinTransposes(), model_from(text), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Transpose"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


@st.composite
def chains(draw: st.DrawFn) -> Model:
    rank = draw(st.integers(1, 4))
    sizes = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    orders = draw(st.lists(st.permutations(range(rank)), min_size=2, max_size=4))
    lines, last = [], "x"
    for place, order in enumerate(orders):
        lines.append(f"t{place} = Transpose <perm: ints = {list(order)}> ({last})")
        last = f"t{place}"
    watched = draw(st.sampled_from([f"t{place}" for place in range(len(orders))]))
    y, z = ",".join("abcd"[:rank]), ",".join("efgh"[:rank])
    outputs = f"float[{y}] y, float[{z}] z"
    text = f"g (float{sizes} x) => ({outputs}) {{ {' '.join(lines)} y = Exp({last}) z = Neg({watched}) }}"
    return model_from(text, opset=draw(st.integers(13, 23)))


@settings(max_examples=25, deadline=None)
@given(chains())
def test_random_chains(model: Model) -> None:
    after, _ = check_pass(JoinTransposes(), model, tolerance=0)
    assert ops(after).count("Transpose") <= 2
