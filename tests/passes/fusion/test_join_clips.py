"""Clip -> Clip, and Clip with Relu."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.join_clips import JoinClips
from pruna_ir.testing import check_pass, missed

WIDE = np.array([-np.inf, -9, -1.5, -0.0, 0, 0.5, 2, 5, 7, np.inf, np.nan, 3e38], np.float32)

# An input that is left out.
EMPTY = '""'


def clips(body: str, outputs: str = "float[12] y", **limits: Any) -> Model:
    arrays: dict[str, Any] = {name: np.asarray(limit, np.float32) for name, limit in limits.items()}
    return model_from(f"g (float[12] x) => ({outputs}) {{ {body} }}", **arrays)


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        ("t = Clip(x, a, c) y = Clip(t, b, d)", [0, 4]),
        ("t = Clip(x, a, c) y = Relu(t)", [0, 4]),
        ("t = Relu(x) y = Clip(t, a, d)", [0, 6]),
        ("t = Clip(x, c) y = Clip(t, a, b)", [0, 0]),
        ('t = Relu(x) y = Clip(t, "", d)', [0, 6]),
        ("t = Clip(x) y = Relu(t)", [0, None]),
        ('t = Clip(x, a) y = Clip(t, "", d)', [-1, 6]),
        ("t = Clip(x) y = Clip(t)", [None, None]),
    ],
)
def test_fires(body: str, limits: list[float | None]) -> None:
    model = clips(body, a=-1, b=0, c=4, d=6)
    after, result = check_pass(JoinClips(), model, feeds={"x": WIDE}, tolerance=0)
    (node,) = after.graph.nodes
    assert [None if tensor.is_empty() else float(tensor.values) for tensor in node.inputs[1:]] == limits
    assert result.counts == {"join-clips": 1}


def test_float16() -> None:
    text = "g (float16[4] x) => (float16[4] y) { t = Relu(x) y = Clip(t, a, b) }"
    after, _ = check_pass(JoinClips(), model_from(text, a=np.float16(-1), b=np.float16(0.1)), tolerance=0)
    assert after.graph.nodes[0].inputs[2].dtype == np.float16


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("t = Relu(x) y = Clip(t, a, b)", "float[12] y, float[12] t", "`t` is an output of the graph"),
        ("t = Relu(x) y = Clip(t, a, b) z = Neg(t)", "float[12] y, float[12] z", "`t` has 2 users"),
        ("v = Neg(b) t = Relu(x) y = Clip(t, v)", "float[12] y", "`v` is not a constant"),
        ("t = Relu(x) y = Clip(t, b, a)", "float[12] y", "the limits 6.0 and 0.0 leave nothing between them"),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    _, result = check_pass(JoinClips(), clips(body, outputs, a=0, b=6))
    assert missed(result) == [reason]


def test_integers() -> None:
    text = "g (int32[4] x) => (int32[4] y) { t = Clip(x) y = Clip(t) }"
    _, result = check_pass(JoinClips(), model_from(text))
    assert missed(result) == ["`t` holds int32, not floats that NumPy knows"]


def test_quantized_limit() -> None:
    body = "k = DequantizeLinear(q, s) t = Relu(x) y = Clip(t, k)"
    model = model_from(f"g (float[2] x) => (float[2] y) {{ {body} }}", q=np.int8(2), s=np.float32(0.5))
    _, result = check_pass(JoinClips(), model)
    assert missed(result) == ["`k` is quantized: fusing would lose its scale"]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] x) => (float[2] r) {
        o = Relu(x)
        r = If (p) <
            then_branch = t () => (float[2] y) { c = Relu(x) y = Clip(c, a) },
            else_branch = e () => (float[2] z) { z = Clip(o, a) }
        >
    }"""
    feeds = {"p": np.array(True), "x": weight(2)}
    after, result = check_pass(JoinClips(), model_from(text, a=np.float32(0.1)), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Clip"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


limits = st.none() | st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 0.25, 4.0, np.inf])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.just("Relu") | st.tuples(limits, limits), min_size=2, max_size=4), st.integers(13, 23))
def test_random_chains(nodes: list[Any], opset: int) -> None:
    lines, constants, last = [], {}, "x"
    for place, node in enumerate(nodes):
        names = ["", ""]
        for index, limit in enumerate(() if node == "Relu" else node):
            if limit is not None:
                names[index] = f"k{place}{index}"
                constants[names[index]] = np.float32(limit)
        call = f"Relu({last})" if node == "Relu" else f"Clip({last}, {names[0] or EMPTY}, {names[1] or EMPTY})"
        lines.append(f"t{place} = {call}")
        last = f"t{place}"
    text = f"g (float[12] x) => (float[12] y) {{ {' '.join(lines)} y = Neg({last}) }}"
    check_pass(JoinClips(), model_from(text, opset=opset, **constants), feeds={"x": WIDE}, tolerance=0)
