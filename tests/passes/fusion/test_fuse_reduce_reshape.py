"""Reduce -> Reshape, Flatten, Squeeze or Unsqueeze."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_reduce_reshape import FuseReduceReshape
from pruna_ir.testing import check_pass, missed, ops

REDUCTIONS = [
    f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
]
MEAN = "ReduceMean <axes: ints = [1, 2]>"
DROPPED = "ReduceMean <axes: ints = [1, 2], keepdims: int = 0>"


def model(x: str, body: str, result: str, *, opset: int = 17, more: str = "", **vectors: Any) -> Model:
    """A graph from `x` to `y`, which may read the vectors of integers."""
    known = {"last": [-1], "two": [2], "both": [1, 2], **vectors}
    used = {name: np.array(value, np.int64) for name, value in known.items() if name in body}
    return model_from(f"g ({x} x) => ({result} y{more}) {{ {body} }}", opset=opset, **used)


def reduction(op: str, opset: int, keepdims: int) -> str:
    """A node that reduces the last axis, which it names from the back, as the opset writes it."""
    if op.startswith("Arg"):
        return f"{op} <axis: int = -1, keepdims: int = {keepdims}> (x)"
    if opset < 18 and op != "ReduceSum":
        return f"{op} <axes: ints = [-1], keepdims: int = {keepdims}> (x)"
    return f"{op} <keepdims: int = {keepdims}> (x, last)"


@pytest.mark.parametrize(("keepdims", "change", "shape"), [(0, "Unsqueeze", "2,3,1"), (1, "Squeeze", "2,3")])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("op", [*REDUCTIONS, "ReduceSum", "ArgMax", "ArgMin"])
def test_fires_on_every_reduction(op: str, opset: int, keepdims: int, change: str, shape: str) -> None:
    kind = "int64" if op.startswith("Arg") else "float"
    body = f"r = {reduction(op, opset, keepdims)} y = {change}(r, two)"
    before = model("float[2,3,4]", body, f"{kind}[{shape}]", opset=opset)
    after, result = check_pass(FuseReduceReshape(), before, feeds={"x": positive(2, 3, 4)}, tolerance=0)
    assert ops(after) == [op]
    assert after.graph.nodes[0].attrs["keepdims"] == 1 - keepdims
    assert result.counts == {"fuse-reduce-reshape": 1}


@pytest.mark.parametrize(
    ("x", "body", "result"),
    [
        ("float[n,c,h,w]", "r = ReduceMean <axes: ints = [2, 3]> (x) y = Flatten(r)", "float[n,c]"),
        ("float16[n,3,h]", "r = ReduceMean <axes: ints = [2]> (x) y = Flatten(r)", "float16[n,3]"),
        ("int32[2,3,4]", "r = ReduceMax <axes: ints = [1, 2]> (x) y = Squeeze(r)", "int32[2]"),
        ("double[n,3,4]", f"r = {DROPPED} (x) y = Reshape(r, s)", "double[n,1,1]"),
        ("float[n,m,4]", "r = ReduceMax <axes: ints = [2]> (x) y = Reshape(r, same)", "float[n,m]"),
        ("float[2,3]", "r = ReduceMax(x) y = Squeeze(r)", "float"),
        ("float[n,m]", "r = ReduceMax <keepdims: int = 0> (x) y = Unsqueeze(r, first)", "float[1,1]"),
        ("float[2,3]", "r = ReduceSum <noop_with_empty_axes: int = 1> (x, no) y = Flatten(r)", "float[2,3]"),
        ("float[2,3]", "r = ReduceSum <keepdims: int = 0> (x, no) y = Unsqueeze(r, first)", "float[1,1]"),
        ("float", "r = ReduceSum(x) y = Reshape(r, no)", "float"),
    ],
)
def test_fires_on_every_shape(x: str, body: str, result: str) -> None:
    before = model(x, body, result, s=[-1, 1, 1], same=[0, -1], first=[0, 1], no=[])
    after, _ = check_pass(FuseReduceReshape(), before, tolerance=0)
    assert len(ops(after)) == 1


@pytest.mark.parametrize(
    ("x", "body", "result", "keepdims"),
    [
        ("float[2,3,4]", f"r = {DROPPED} (x) y = Unsqueeze(r, first)", "float[1,1,2]", 1),
        ("float[n,3,h]", "r = ReduceMean <axes: ints = [1, 2]> (x) y = Flatten <axis: int = 0> (r)", "float[1,n]", 0),
        ("float[1,3,4]", "r = ReduceMean <axes: ints = [1]> (x) y = Squeeze(r)", "float[4]", 0),
        ("float[n,m,4]", "r = ReduceMean <axes: ints = [2]> (x) y = Reshape(r, s)", "float[a,b]", 0),
        ("float[1,3]", "r = ReduceSum <noop_with_empty_axes: int = 1> (x, no) y = Squeeze(r)", "float[3]", 0),
    ],
)
def test_other_shapes_stay(x: str, body: str, result: str, keepdims: int) -> None:
    before = model(x, body, result, first=[0, 1], s=[1, -1], no=[])
    after, found = check_pass(FuseReduceReshape(), before)
    assert len(ops(after)) == 2
    assert missed(found) == [f"`y` may have another shape than with keepdims={keepdims}"]


def test_output_between_stays() -> None:
    before = model("float[2,3,4]", f"r = {MEAN} (x) y = Squeeze(r, both)", "float[2]", more=", float[2,1,1] r")
    after, result = check_pass(FuseReduceReshape(), before)
    assert ops(after) == ["ReduceMean", "Squeeze"]
    assert missed(result) == ["`r` is an output of the graph"]


def test_other_users_stay() -> None:
    body = f"r = {MEAN} (x) y = Squeeze(r, both) z = Neg(r)"
    after, result = check_pass(FuseReduceReshape(), model("float[2,3,4]", body, "float[2]", more=", float[2,1,1] z"))
    assert ops(after) == ["ReduceMean", "Squeeze", "Neg"]
    assert missed(result) == ["`r` has 2 users"]


def test_computed_axes_stay() -> None:
    text = "g (float[2,3] x, int64[1] a) => (float[q] y) { r = ReduceSum(x, a) y = Squeeze(r, a) }"
    feeds = {"x": weight(2, 3), "a": np.array([1])}
    after, result = check_pass(FuseReduceReshape(), model_from(text), feeds=feeds)
    assert ops(after) == ["ReduceSum", "Squeeze"]
    assert missed(result) == ["`a` is not a constant"]


UNRANKED = "g (float[6] x, int64[D] s) => (float[a,b] y) {{ t = Reshape(x, s) r = {} y = {} }}"
ROWS = {"x": weight(6), "s": np.array([3, 2])}


@pytest.mark.parametrize(
    ("reduction", "change"),
    [
        ("ReduceMax <axes: ints = [1], keepdims: int = 0> (t)", "Unsqueeze(r, axes)"),
        ("ArgMax <axis: int = 1> (t)", "Squeeze(r, axes)"),
    ],
)
def test_same_axes_need_no_rank(reduction: str, change: str) -> None:
    text = UNRANKED.format(reduction, change)
    if "Arg" in reduction:
        text = text.replace("float[a,b]", "int64[a]")
    after, _ = check_pass(FuseReduceReshape(), model_from(text, axes=np.array([1])), feeds=ROWS, tolerance=0)
    assert ops(after) == ["Reshape", reduction.partition(" ")[0]]


@pytest.mark.parametrize(
    ("reduction", "change"),
    [
        ("ReduceMax <axes: ints = [1], keepdims: int = 0> (t)", "Unsqueeze(r, axes)"),
        ("ReduceMax <keepdims: int = 0> (t)", "Reshape(r, ones)"),
    ],
)
def test_unknown_rank_stays(reduction: str, change: str) -> None:
    before = model_from(UNRANKED.format(reduction, change), axes=np.array([0]), ones=np.array([1, 1]))
    after, result = check_pass(FuseReduceReshape(), before, feeds=ROWS)
    assert ops(after) == ["Reshape", "ReduceMax", change.partition("(")[0]]
    assert missed(result) == ["the rank of `r` is not known"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""g (bool p, float[2,3,4] x) => (float[2] y) {{
        o = {MEAN} (x)
        y = If (p) <
            then_branch = t () => (float[2] a) {{ r = {MEAN} (x) a = Squeeze(r) }},
            else_branch = e () => (float[2] b) {{ b = Squeeze(o) }}
        >
    }}"""
    feeds = {"p": np.array(True), "x": weight(2, 3, 4)}
    after, result = check_pass(FuseReduceReshape(), model_from(text), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["ReduceMean"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]
