"""Concat -> Concat over the same axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.passes.fusion.layout.join_concats import JoinConcats
from pruna_ir.testing import check_pass, missed, ops


@pytest.mark.parametrize(("first", "second"), [(1, 1), (-2, 1), (1, -2)])
def test_fires(first: int, second: int) -> None:
    text = f"""g (float[2,3,4] a, float[2,1,4] b, float[2,N,4] c) => (float[2,M,4] y)
        {{ t = Concat <axis: int = {first}> (b, c) y = Concat <axis: int = {second}> (a, t, k, b) }}"""
    after, result = check_pass(JoinConcats(), model_from(text, k=weight(2, 2, 4)), tolerance=0)
    assert [[tensor.name for tensor in node.inputs] for node in after.graph.nodes] == [["a", "b", "c", "k", "b"]]
    assert result.counts == {"join-concats": 1}


def test_two_inside_of_one() -> None:
    text = """g (float[2] a, float[3] b) => (float[10] y) {
        s = Concat <axis: int = 0> (a, b) t = Concat <axis: int = 0> (b, a) y = Concat <axis: int = 0> (s, t) }"""
    after, _ = check_pass(JoinConcats(), model_from(text), tolerance=0)
    assert [tensor.name for tensor in after.graph.nodes[0].inputs] == ["a", "b", "b", "a"]


def test_name_stays() -> None:
    text = "g (float[2] a) => (float[6] y) { t = Concat <axis: int = 0> (a, a) y = Concat <axis: int = 0> (t, a) }"
    model = model_from(text)
    model.graph.nodes[1].name = "joint"
    after, _ = check_pass(JoinConcats(), model)
    assert [node.name for node in after.graph.nodes] == ["joint"]


INNER = "t = Concat <axis: int = 0> (a, a)"


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (f"{INNER} y = Concat <axis: int = 0> (t, a)", "float[6,2] y, float[4,2] t", "`t` is an output of the graph"),
        (f"{INNER} y = Concat <axis: int = 0> (t, t)", "float[8,2] y", "`t` has 2 users"),
        (f"{INNER} y = Concat <axis: int = 1> (t, t)", "float[4,4] y", "`t` is concatenated along axis 0, not 1"),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    after, result = check_pass(JoinConcats(), model_from(f"g (float[2,2] a) => ({outputs}) {{ {body} }}"))
    assert missed(result) == [reason]
    assert ops(after) == ["Concat", "Concat"]


def test_rank_that_is_not_known() -> None:
    text = """g (float[6] x, int64[D] s) => (float[9,2] y) {
        r = Reshape(x, s) t = Concat <axis: int = -2> (r, r) y = Concat <axis: int = 0> (t, r) }"""
    _, result = check_pass(JoinConcats(), model_from(text), feeds={"x": weight(6), "s": np.array([3, 2])})
    assert missed(result) == ["the rank of `t` is not known"]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] a) => (float[6] r) {
        o = Concat <axis: int = 0> (a, a)
        r = If (p) <
            then_branch = t () => (float[6] y) { c = Concat <axis: int = 0> (a, a) y = Concat <axis: int = 0> (c, a) },
            else_branch = e () => (float[6] z) { z = Concat <axis: int = 0> (o, a) }
        >
    }"""
    after, result = check_pass(JoinConcats(), model_from(text), feeds={"p": np.array(True), "a": weight(2)})
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Concat"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 1), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=5),
    st.integers(13, 23),
)
def test_random_trees(nodes: list[tuple[int, int, int]], opset: int) -> None:
    """Every node joins two of the tensors so far, [1, 1] each at first, where their shapes allow it."""
    shapes, lines = [(1, 1)], []
    for axis, left, right in nodes:
        first, second = -1 - left % len(shapes), -1 - right % len(shapes)
        if shapes[first][1 - axis % 2] != shapes[second][1 - axis % 2]:
            continue
        names = [f"t{index % len(shapes)}" for index in (first, second)]
        shape = [*shapes[first]]
        shape[axis] += shapes[second][axis]
        lines.append(f"t{len(shapes)} = Concat <axis: int = {axis}> ({', '.join(names)})")
        shapes.append((shape[0], shape[1]))
    text = f"g (float[1,1] x) => (float[A,B] y) {{ t0 = Exp(x) {' '.join(lines)} y = Neg(t{len(lines)}) }}"
    check_pass(JoinConcats(), model_from(text, opset=opset), tolerance=0)
