"""Reshape -> Transpose -> one Gather per index of an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.split_stack import SplitStack
from pruna_ir.testing import check_pass, missed, ops

STACK = "r = Reshape(x, shape) t = Transpose <perm: ints = [2, 0, 3, 1, 4]> (r)"
GATHERS = "q = Gather(t, i0) k = Gather(t, i1) v = Gather(t, i2)"
OUTPUTS = ", ".join(f"float[2,4,5,6] {name}" for name in "qkv")


def model(body: str, outputs: str = OUTPUTS, inputs: str = "float[2,5,72] x", **changes: Any) -> Model:
    constants: dict[str, Any] = {
        "shape": np.array([2, 5, 3, 4, 6]), "ones": np.array([1, 1, 1]), "two": np.array([2]),
        **{f"i{index}": np.array(index) for index in range(3)},
    }  # fmt: skip
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **{**constants, **changes})


def test_heads() -> None:
    after, result = check_pass(SplitStack(), model(f"{STACK} {GATHERS}"), tolerance=0)
    assert ops(after) == ["Reshape", "Transpose", "Split"]
    assert after.graph.nodes[0].outputs[0].shape == [2, 5, 12, 6]
    assert result.counts == {"split-stack": 1}


def test_indices_in_any_order() -> None:
    body = f"{STACK} v = Gather(t, m1) q = Gather(t, i0) k = Gather(t, i1)"
    assert ops(check_pass(SplitStack(), model(body, m1=np.array(-1)), tolerance=0)[0])[-1] == "Split"


def test_parts_of_size_one() -> None:
    outputs = OUTPUTS.replace("2,4", "1,2,4")
    after, _ = check_pass(SplitStack(), model(f"{STACK} q, k, v = Split(t, ones)", outputs), tolerance=0)
    assert ops(after) == ["Reshape", "Transpose", "Split"]


def test_parts_of_size_one_that_are_squeezed() -> None:
    body = f"{STACK} a, b, c = Split(t, ones) q = Squeeze(a, zero) k = Squeeze(b, m5) v = Squeeze(c, zero)"
    after, _ = check_pass(SplitStack(), model(body, zero=np.array([0]), m5=np.array([-5])), tolerance=0)
    assert ops(after) == ["Reshape", "Transpose", "Split"]
    assert after.graph.nodes[0].outputs[0].shape == [2, 5, 12, 6]


def test_one_part_that_is_not_squeezed() -> None:
    body = f"{STACK} a, b, c = Split(t, ones) q = Squeeze(a, zero) k = Squeeze(b, zero) v = Neg(c)"
    case = model(body, OUTPUTS.replace("float[2,4,5,6] v", "float[1,2,4,5,6] v"), zero=np.array([0]))
    after, _ = check_pass(SplitStack(), case, tolerance=0)
    assert ops(after) == ["Reshape", "Transpose", "Split", "Squeeze", "Squeeze", "Neg"]


def test_a_squeeze_and_nothing_else_left() -> None:
    body = f"""r = Reshape(x, shape) p = Transpose <perm: ints = [3, 1, 2, 0, 4]> (r) t = Squeeze(p, axes) {GATHERS}"""
    outputs = ", ".join(f"float[5,2,24] {name}" for name in "qkv")
    weights = {"shape": np.array([1, 5, 2, 3, 24]), "axes": np.array([3])}
    after, _ = check_pass(SplitStack(), model(body, outputs, "float[5,2,72] x", **weights), tolerance=0)
    assert ops(after) == ["Split"]


@pytest.mark.parametrize("shape", [[0, 0, 3, 4, 6], [-1, 5, 3, 4, 6], [0, -1, 3, 4, 6]])
def test_open_sizes(shape: list[int]) -> None:
    inputs = "float[N,5,72] x" if shape[1] else "float[N,L,72] x"
    outputs = OUTPUTS.replace("2,4,5", "a,b,c")
    after, _ = check_pass(
        SplitStack(), model(f"{STACK} {GATHERS}", outputs, inputs, shape=np.array(shape)), tolerance=0
    )
    assert ops(after) == ["Reshape", "Transpose", "Split"]


def test_open_sizes_and_nothing_to_reshape() -> None:
    body = "r = Reshape(x, shape) q = Gather <axis: int = 1> (r, i0) k = Gather <axis: int = 1> (r, i1)"
    shape = np.array([-1, 2, 36])
    after, _ = check_pass(SplitStack(), model(body, "float[N,36] q, float[N,36] k", "float[N,72] x", shape=shape))
    assert ops(after) == ["Split"]


def test_no_transpose() -> None:
    body = """r = Reshape(x, shape) q = Gather <axis: int = 2> (r, i0) k = Gather <axis: int = 2> (r, i1)
        v = Gather <axis: int = -3> (r, i2)"""
    after, _ = check_pass(SplitStack(), model(body, OUTPUTS.replace("4,5", "5,4")), tolerance=0)
    assert ops(after) == ["Reshape", "Split"]


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (f"{STACK} {GATHERS}", f"{OUTPUTS}, float[3,2,4,5,6] t", "`t` is an output of the graph"),
        (f"{STACK} {GATHERS} u = Neg(r)", f"{OUTPUTS}, float[2,5,3,4,6] u", "`r` has 2 users"),
        ("r = Reshape(x, last) t = Transpose <perm: ints = [4, 0, 3, 1, 2]> (r) " + GATHERS,
         ", ".join(f"float[2,6,5,4] {name}" for name in "qkv"),
         "the axis that `t` is stacked along is not before another one"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    _, result = check_pass(SplitStack(), model(body, outputs, last=np.array([2, 5, 4, 6, 3])))
    assert missed(result) == [reason]
    assert not result.changed


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (f"{STACK} q = Gather(t, i0) k = Gather(t, i1)", "float[2,4,5,6] q, float[2,4,5,6] k"),
        (f"{STACK} {GATHERS.replace('i2', 'i1')}", OUTPUTS),
        (f"{STACK} {GATHERS} u = Neg(t)", f"{OUTPUTS}, float[3,2,4,5,6] u"),
        (f"{STACK} {GATHERS.replace('i2', 'two')}", OUTPUTS.replace("float[2,4,5,6] v", "float[1,2,4,5,6] v")),
        (
            f"t = Reshape(x, unknown) {GATHERS.replace('Gather(', 'Gather <axis: int = 1> (')}",
            OUTPUTS.replace("2,4,5,6", "a,b,c,d"),
        ),
    ],
)
def test_no_match(body: str, outputs: str) -> None:
    inputs = "float[N,5,72] x" if "unknown" in body else "float[2,5,72] x"
    _, result = check_pass(SplitStack(), model(body, outputs, inputs, unknown=np.array([3, -1, 4, 5, 6])))
    assert missed(result) == []
    assert not result.changed


def test_inside_of_a_sub_graph() -> None:
    body = f"""{STACK} s = If (p) <
        then_branch = a () => (float[2,4,5,6] y) {{ {GATHERS} w = Add(q, k) y = Add(w, v) }},
        else_branch = b () => (float[2,4,5,6] z) {{ z = Gather(t, i0) }}
    >"""
    feeds = {"p": np.array(True), "x": np.ones((2, 5, 72), np.float32)}
    _, result = check_pass(SplitStack(), model(body, "float[2,4,5,6] s", "float[2,5,72] x, bool p"), feeds=feeds)
    assert not result.changed


@st.composite
def stacks(draw: st.DrawFn) -> Model:
    """Any axes, any order, any of them stacked."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    place = draw(st.integers(0, len(sizes) - 1))
    count = draw(st.integers(2, 3))
    sizes.insert(place, count)
    order = draw(st.permutations(range(len(sizes))))
    axis = order.index(place)
    rest = [sizes[one] for one in order if one != place]
    names = [f"y{index}" for index in range(count)]
    outputs = ", ".join(f"float[{','.join(map(str, rest))}] {name}" for name in names)
    body = " ".join(f"{name} = Gather <axis: int = {axis}> (t, i{index})" for index, name in enumerate(names))
    total = int(np.prod(sizes))
    return model(
        f"r = Reshape(x, shape) t = Transpose <perm: ints = {list(order)}> (r) {body}",
        outputs,
        f"float[{total}] x",
        shape=np.array(sizes),
    )


@settings(max_examples=40, deadline=None)
@given(stacks())
def test_any_stack(case: Model) -> None:
    after, result = check_pass(SplitStack(), case, tolerance=0)
    assert result.changed == ("Split" in ops(after))
