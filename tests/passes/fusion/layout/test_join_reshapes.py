"""Reshape, Flatten, Squeeze or Unsqueeze in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.layout.join_reshapes import JoinReshapes
from pruna_ir.testing import check_pass, missed, ops


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def shape_of(model: Model, node: int = 0) -> list[int]:
    return list(model.graph.nodes[node].inputs[1].values)


@pytest.mark.parametrize(
    ("shape", "body", "result", "constants", "expected"),
    [
        ("2,3,4", "t = Reshape(x, a) y = Reshape(t, b)", "4,6", {"a": ints(6, 4), "b": ints(4, -1)}, [4, 6]),
        ("2,3,4", "t = Reshape(x, a) y = Reshape(t, b)", "6,2,2", {"a": ints(6, 4), "b": ints(0, 2, 2)}, [6, 2, 2]),
        ("2,1,4", "t = Squeeze(x) y = Flatten <axis: int = 0> (t)", "1,8", {}, [1, 8]),
        ("N,6", "t = Reshape(x, a) y = Unsqueeze(t, b)", "N,1,2,3", {"a": ints(0, 2, 3), "b": ints(1)}, [0, 1, 2, 3]),
        ("N,M,6", "t = Reshape(x, a) y = Unsqueeze(t, b)", "N,M,2,3,1",
         {"a": ints(0, 0, 2, 3), "b": ints(-1)}, [0, 0, 2, 3, 1]),
        ("N,6", "t = Unsqueeze(x, a) y = Reshape(t, b)", "N,3,2", {"a": ints(0), "b": ints(-1, 3, 2)}, [-1, 3, 2]),
        ("N,M,6", "t = Flatten <axis: int = 2> (x) y = Reshape(t, b)", "K,3,2", {"b": ints(0, 3, 2)}, [-1, 3, 2]),
        ("1,N,6", "t = Squeeze(x, a) y = Reshape(t, b)", "N,3,2", {"a": ints(0), "b": ints(0, 3, 2)}, [-1, 3, 2]),
    ],
)  # fmt: skip
def test_fires(shape: str, body: str, result: str, constants: dict[str, Any], expected: list[int]) -> None:
    after, outcome = check_pass(
        JoinReshapes(), model_from(f"g (float[{shape}] x) => (float[{result}] y) {{ {body} }}", **constants)
    )
    assert ops(after) == ["Reshape"]
    assert shape_of(after) == expected
    assert outcome.counts == {"join-reshapes": 1}


@pytest.mark.parametrize(
    ("shape", "body", "constants"),
    [
        ("2,3,4", "t = Flatten(r) s = Reshape(t, a)", {"a": ints(2, 3, 4)}),
        ("N,3,4", "t = Flatten(r) s = Reshape(t, a)", {"a": ints(0, 3, 4)}),
        ("N,3,4", "t = Flatten(r) s = Reshape(t, a)", {"a": ints(-1, 3, 4)}),
        ("N,M,4", "t = Unsqueeze(r, a) s = Squeeze(t, a)", {"a": ints(1)}),
        ("N,M,4", "t = Reshape(r, a) s = Reshape(t, b)", {"a": ints(0, 0, 2, 2), "b": ints(0, 0, 4)}),
    ],
)
def test_cancels(shape: str, body: str, constants: dict[str, Any]) -> None:
    text = f"g (float[{shape}] x) => (float[{shape}] y) {{ r = Exp(x) {body} y = Neg(s) }}"
    after, _ = check_pass(JoinReshapes(), model_from(text, **constants))
    assert ops(after) == ["Exp", "Neg"]


def test_cancels_and_the_first_stays_for_others() -> None:
    text = """g (float[2,3] x) => (float[2,3] y, float[6] z)
        { r = Exp(x) t = Reshape(r, a) s = Reshape(t, b) y = Neg(s) z = Neg(t) }"""
    after, _ = check_pass(JoinReshapes(), model_from(text, a=ints(6), b=ints(2, 3)))
    assert ops(after) == ["Exp", "Reshape", "Neg", "Neg"]


def test_output_that_would_be_the_input_keeps_one() -> None:
    model = model_from(
        "g (float[2,3] x) => (float[2,3] y) { t = Reshape(x, a) y = Reshape(t, b) }", a=ints(6), b=ints(2, 3)
    )
    after, _ = check_pass(JoinReshapes(), model)
    assert ops(after) == ["Reshape"]


PAIR = "t = Reshape(x, a) y = Reshape(t, b)"


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        (PAIR, "float[3,2] y, float[6] t", "`t` is an output of the graph"),
        (f"{PAIR} z = Neg(t)", "float[3,2] y, float[6] z", "`t` has 2 users"),
    ],
)
def test_does_not_fire(body: str, outputs: str, reason: str) -> None:
    after, result = check_pass(
        JoinReshapes(), model_from(f"g (float[2,3] x) => ({outputs}) {{ {body} }}", a=ints(6), b=ints(3, 2))
    )
    assert missed(result) == [reason]
    assert ops(after)[:2] == ["Reshape", "Reshape"]


def test_dimensions_that_are_not_known() -> None:
    text = "g (float[N,M,6] x) => (float[M,N,1,6] y) { t = Reshape(x, a) y = Unsqueeze(t, b) }"
    model = model_from(text.replace("(float[M,N,1,6] y)", "(float[P,Q,1,6] y)"), a=ints(0, 0, 6), b=ints(2))
    after, _ = check_pass(JoinReshapes(), model)
    assert shape_of(after) == [0, 0, 1, 6]
    shifted = model_from(text.replace("(float[M,N,1,6] y)", "(float[1,P,Q,6] y)"), a=ints(0, 0, 6), b=ints(0))
    _, result = check_pass(JoinReshapes(), shifted)
    assert missed(result) == ["2 dimensions of `y` are not known"]


def test_shape_that_is_not_known() -> None:
    model = model_from("g (float[6] x, int64[D] s) => (float[3,2] y) { t = Reshape(x, s) u = Squeeze(t) y = Neg(u) }")
    _, result = check_pass(JoinReshapes(), model, feeds={"x": weight(6), "s": ints(3, 1, 2)})
    assert missed(result) == ["the shape of `u` is not known"]


def test_empty_tensor() -> None:
    model = model_from(
        "g (float[0,4] x) => (float[2,0] y) { t = Flatten(x) y = Reshape <allowzero: int = 1> (t, b) }", b=ints(2, 0)
    )
    _, result = check_pass(JoinReshapes(), model)
    assert missed(result) == ["`y` is empty"]


def test_shared_shape_is_left_alone() -> None:
    text = "g (float[2,6] x) => (float[3,4] y, float[3,4] z) { t = Flatten(x) y = Reshape(t, a) z = Reshape(x, a) }"
    after, _ = check_pass(JoinReshapes(), model_from(text, a=ints(3, 4)))
    assert ops(after) == ["Reshape", "Reshape"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[2,3] x) => (float[3,2] r) {{
        o = Reshape(x, a)
        r = If (p) <
            then_branch = t () => (float[3,2] y) {{ {PAIR} }},
            else_branch = e () => (float[3,2] z) {{ z = Reshape(o, b) }}
        >
    }}"""
    feeds = {"p": np.array(True), "x": weight(2, 3)}
    after, result = check_pass(JoinReshapes(), model_from(text, a=ints(6), b=ints(3, 2)), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Reshape"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


@st.composite
def chains(draw: st.DrawFn) -> tuple[Model, dict[str, np.ndarray]]:
    """Nodes in a row over x[N,M,4], which is [2,3,4] when it runs."""
    known = draw(st.booleans())
    shape, lines, constants, last = [2, 3, 4], [], {}, "x"
    for place in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(["Reshape", "Flatten", "Squeeze", "Unsqueeze"]))
        axes: list[int] | None = None
        attribute = ""
        if kind == "Reshape":
            axes = draw(st.sampled_from([[24], [2, -1], [-1, 4], [0, -1], [6, 1, 4], [1, 0, -1][:3], [2, 3, 2, 2]]))
            if any(size == 0 and (at >= len(shape) or 24 % shape[at]) for at, size in enumerate(axes)):
                axes = [-1]
            sizes = [shape[at] if size == 0 else size for at, size in enumerate(axes)]
            fixed = int(np.prod([size for size in sizes if size != -1]))
            if 24 % fixed or (-1 not in sizes and fixed != 24):
                axes, sizes, fixed = [-1], [-1], 1
            shape = [24 // fixed if size == -1 else size for size in sizes]
        elif kind == "Flatten":
            axis = draw(st.integers(0, len(shape)))
            attribute, shape = f"<axis: int = {axis}> ", [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
        elif kind == "Squeeze":
            axes = [axis - len(shape) for axis, size in enumerate(shape) if size == 1]
            shape = [size for size in shape if size != 1]
        else:
            axes = [draw(st.integers(0, len(shape)))]
            shape.insert(axes[0], 1)
        second = "" if axes is None else f", k{place}"
        if axes is not None:
            constants[f"k{place}"] = ints(*axes)
        lines.append(f"t{place} = {kind} {attribute}({last}{second})")
        last = f"t{place}"
    source = "2,3,4" if known else "N,M,4"
    result = ",".join(f"d{axis}" for axis in range(len(shape)))
    body = " ".join(lines).replace("(x", "(r", 1)
    text = f"g (float[{source}] x) => (float[{result}] y) {{ r = Exp(x) {body} y = Neg({last}) }}"
    return model_from(text, opset=draw(st.integers(13, 23)), **constants), {"x": weight(2, 3, 4)}


@settings(max_examples=40, deadline=None)
@given(chains())
def test_random_chains(case: tuple[Model, dict[str, np.ndarray]]) -> None:
    model, feeds = case
    after, result = check_pass(JoinReshapes(), model, feeds=feeds, tolerance=0)
    assert len(ops(after)) <= (3 if not missed(result) else len(ops(model)))
