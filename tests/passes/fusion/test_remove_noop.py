"""Nodes that compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.passes.fusion.remove_noop import RemoveNoop
from pruna_ir.testing import check_pass, missed, ops

OPSETS = st.integers(13, 23)
ONE, ZERO = np.float32(1), np.float32(0)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


# The node that does nothing to `r`, a float[2,3,4], and its constants by what the text calls them.
NOTHING: list[tuple[str, dict[str, Any]]] = [
    ("Add({r}, {k})", {"k": ZERO}),
    ("Add({k}, {r})", {"k": np.zeros((3, 1), np.float32)}),
    ("Sub({r}, {k})", {"k": np.zeros((2, 3, 4), np.float32)}),
    ("Mul({k}, {r})", {"k": np.ones((1, 1), np.float32)}),
    ("Div({r}, {k})", {"k": ONE}),
    ("Pow({r}, {k})", {"k": ONE}),
    ("Cast <to: int = 1> ({r})", {}),
    ("CastLike({r}, {k})", {"k": ONE}),
    ("Transpose <perm: ints = [0, 1, 2]> ({r})", {}),
    ("Reshape({r}, {k})", {"k": ints(2, 3, 4)}),
    ("Reshape({r}, {k})", {"k": ints(0, -1, 4)}),
    ("Squeeze({r}, {k})", {"k": ints()}),
    ("Expand({r}, {k})", {"k": ints(3, 1)}),
    ("Tile({r}, {k})", {"k": ints(1, 1, 1)}),
    ("Slice({r}, {k}, {n})", {"k": ints(0), "n": ints(2**31 - 1)}),
    ("Slice({r}, {k}, {n}, {a})", {"k": ints(0, -4), "n": ints(3, 9), "a": ints(-2, -1)}),
    ("Pad({r}, {k})", {"k": ints(0, 0, 0, 0, 0, 0)}),
    ("Concat <axis: int = 1> ({r})", {}),
    ("Sum({r})", {}),
    ("Mean({r})", {}),
    ("Max({r})", {}),
    ("Min({r})", {}),
    ('Resize({r}, "", {k})', {"k": np.ones(3, np.float32)}),
    ('Resize <mode: string = "linear"> ({r}, "", "", {k})', {"k": ints(2, 3, 4)}),
    ("Split <axis: int = 1> ({r}, {k})", {"k": ints(3)}),
    ("Gather <axis: int = 1> ({r}, {k})", {"k": ints(0, 1, 2)}),
    ("Clip({r}, {k}, {n})", {"k": np.float32(-np.inf), "n": np.float32(np.inf)}),
    ("AveragePool <kernel_shape: ints = [1]> ({r})", {}),
    ("Max({r}, {r})", {}),
    ("Min({r}, {r}, {r})", {}),
    ("LeakyRelu <alpha: float = 1.0> ({r})", {}),
    ("PRelu({r}, {k})", {"k": np.ones(4, np.float32)}),
    ("Concat <axis: int = 1> ({k}, {r}, {k})", {"k": np.zeros((2, 0, 4), np.float32)}),
    ("Concat <axis: int = -1> ({r}, {k})", {"k": np.zeros((2, 3, 0), np.float32)}),
    ("Where({k}, {r}, {n})", {"k": np.array([True]), "n": np.zeros((3, 1), np.float32)}),
    ("Where({k}, {n}, {r})", {"k": np.zeros((3, 4), bool), "n": ZERO}),
    ("Where({k}, {r}, {r})", {"k": np.array([True, False, True, False])}),
    ('Einsum <equation: string = "abc->abc"> ({r})', {}),
    ('Einsum <equation: string = "...c -> ...c"> ({r})', {}),
    ("ReduceSum <noop_with_empty_axes: int = 1> ({r})", {}),
    ("ReduceSum <noop_with_empty_axes: int = 1> ({r}, {k})", {"k": ints()}),
]
# The same for a float[2,1,1,1].
NOTHING_TO_SINGLES: list[tuple[str, dict[str, Any]]] = [
    ("ReduceSum(r, k)", {"k": ints(1, -1)}),
    ("ReduceMean <axes: ints = [1]> (r)", {}),
    ("ReduceMax <axes: ints = [1, 2]> (r)", {}),
    ("ReduceProd <axes: ints = [-1]> (r)", {}),
    ("GlobalAveragePool(r)", {}),
    ("DepthToSpace <blocksize: int = 1> (r)", {}),
    ("SpaceToDepth <blocksize: int = 1> (r)", {}),
]


@pytest.mark.parametrize(("node", "constants"), NOTHING)
def test_fires(node: str, constants: dict[str, Any]) -> None:
    text = node.format(r="r", k="k", n="n", a="a")
    model = model_from(f"g (float[2,3,4] x) => (float[2,3,4] y) {{ r = Exp(x) t = {text} y = Neg(t) }}", **constants)
    after, result = check_pass(RemoveNoop(), model, tolerance=0)
    assert ops(after) == ["Exp", "Neg"]
    assert result.counts == {"remove-noop": 1}


@pytest.mark.parametrize(("node", "constants"), NOTHING_TO_SINGLES)
def test_fires_on_axes_of_size_one(node: str, constants: dict[str, Any]) -> None:
    text = f"g (float[2,1,1,1] x) => (float[2,1,1,1] y) {{ r = Exp(x) t = {node} y = Neg(t) }}"
    after, _ = check_pass(RemoveNoop(), model_from(text, **constants), tolerance=0)
    assert ops(after) == ["Exp", "Neg"]


@pytest.mark.parametrize("node", ["ReduceMin(r, k)", "ReduceSum <noop_with_empty_axes: int = 1> (r, k)"])
def test_axes_of_a_newer_opset(node: str) -> None:
    axes = ints(0) if "Min" in node else ints()
    model = model_from(f"g (float[1,3] x) => (float[1,3] y) {{ r = Exp(x) t = {node} y = Neg(t) }}", opset=18, k=axes)
    assert ops(check_pass(RemoveNoop(), model, tolerance=0)[0]) == ["Exp", "Neg"]


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        ("BitwiseOr(r, k)", {"k": np.int32(0)}),
        ("BitwiseXor(k, r)", {"k": np.zeros((1, 3), np.int32)}),
        ("Max(r, r)", {}),
    ],
)
def test_whole_numbers(node: str, constants: dict[str, Any]) -> None:
    text = f"g (int32[2,3] x) => (int32[2,3] y) {{ r = Neg(x) t = {node} y = Abs(t) }}"
    assert ops(check_pass(RemoveNoop(), model_from(text, opset=18, **constants))[0]) == ["Neg", "Abs"]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("r = Relu(x) y = Relu(r)", ["Relu"]),
        ("r = Floor(x) s = Floor(r) y = Exp(s)", ["Floor", "Exp"]),
        ("r = Exp(x) s = Neg(r) t = Neg(s) y = Sin(t)", ["Exp", "Sin"]),
        ("r = Clip(x, k) y = Relu(r)", ["Clip"]),
        ("r = Neg(x) s = Neg(r) t = Mul(s, r) y = Exp(t)", ["Neg", "Mul", "Exp"]),
    ],
)
def test_repeated_or_undone(body: str, left: list[str]) -> None:
    after, _ = check_pass(RemoveNoop(), model_from(f"g (float[2,3] x) => (float[2,3] y) {{ {body} }}", k=ONE))
    assert ops(after) == left


@pytest.mark.parametrize(
    "node",
    [
        "Add(r, one)",
        "Sub(zero, r)",
        "Div(one, r)",
        "Mul(r, ones4)",
        "Clip(r)",
        "Clip(r, zero)",
        "Concat <axis: int = 0> (r, r)",
        "Cast <to: int = 10> (r)",
        "Reshape(r, turned)",
        "Transpose(r)",
        "Expand(r, shape4)",
        "Slice(r, n1, n9, n1)",
        "Slice(r, n0, n9, n0, n2)",
        "Gather(r, n00)",
        "Pad(r, pads)",
        "MaxPool <kernel_shape: ints = [1]> (r)",
        "Max(r, one)",
        "LeakyRelu(r)",
        "PRelu(r, zero)",
        "Where(mixed, r, zero)",
        "Where(true, r, ones4)",
        'Einsum <equation: string = "abc->acb"> (r)',
        'Einsum <equation: string = "abc,abc->abc"> (r, r)',
        "ReduceSum(r)",
        "ReduceSum(r, n1)",
        "ReduceSum <keepdims: int = 0> (r, n0)",
        "ReduceL2 <axes: ints = [0]> (r)",
        "ReduceLogSumExp <axes: ints = [1]> (r)",
        "GlobalAveragePool(r)",
    ],
)
def test_does_something(node: str) -> None:
    constants: dict[str, Any] = {
        "one": ONE,
        "zero": ZERO,
        "ones4": np.ones((4, 1, 1, 1), np.float32),
        "shape4": ints(4, 1, 1, 1),
        "turned": ints(1, 3, 2),
        "true": np.array(True),
        "mixed": np.array([True, False, True]),
        "n00": ints(0, 0),
        "pads": ints(0, 0, 0, 0, 0, 1),
        **{f"n{number}": ints(number) for number in (0, 1, 2, 9)},
    }
    model = model_from(
        f"g (float[1,2,3] x) => (float y) {{ r = Exp(x) t = {node} c = Size(t) y = Cast<to=1>(c) }}", **constants
    )
    after, result = check_pass(RemoveNoop(), model)
    assert not result.changed
    assert len(ops(after)) == 4


def test_symbolic_shapes() -> None:
    body = "r = Exp(x) s = Reshape(r, k) t = Flatten(s) u = Mul(t, one) y = Neg(u)"
    after, _ = check_pass(
        RemoveNoop(), model_from(f"g (float[N,3] x) => (float[N,3] y) {{ {body} }}", k=ints(-1, 3), one=ONE)
    )
    assert ops(after) == ["Exp", "Neg"]


def test_two_unknown_dimensions_may_differ() -> None:
    body = "r = Exp(x) s = Reshape(r, k) y = Neg(s)"
    model = model_from(f"g (float[N,N,2] x, int64[3] k) => (float[N,N,2] y) {{ {body} }}")
    _, result = check_pass(RemoveNoop(), model, feeds={"x": weight(2, 3, 2), "k": ints(3, 2, 2)})
    assert not result.changed


def test_shape_that_broadcasting_may_grow() -> None:
    model = model_from(
        "g (float[A,B] x) => (float[A,B] y) { r = Exp(x) t = Mul(r, k) y = Neg(t) }", k=np.ones((1, 3), np.float32)
    )
    _, result = check_pass(RemoveNoop(), model)
    assert not result.changed


def test_values_of_zero_and_nan_pass() -> None:
    values = np.array([-0.0, 0.0, np.nan, np.inf, -np.inf, 1e-45], np.float32)
    body = "a = Abs(x) m = Mul(a, one) s = Sub(m, zero) d = Div(s, one) y = Neg(d)"
    model = model_from(f"g (float[6] x) => (float[6] y) {{ {body} }}", one=ONE, zero=ZERO)
    after, _ = check_pass(RemoveNoop(), model, feeds={"x": values}, tolerance=0)
    assert ops(after) == ["Abs", "Neg"]


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("y = Mul(x, k)", "float[2] y", "the output `y` is the input `x`"),
        ("y = Mul(c, k)", "float[2] y", "the output `y` is the constant `c`"),
        ("r = Exp(x) y = Mul(r, k)", "float[2] y, float[2] r", "`r` and `y` are both outputs of the graph"),
    ],
)
def test_output_needs_its_name(body: str, outputs: str, reason: str) -> None:
    model = model_from(f"g (float[2] x) => ({outputs}) {{ {body} }}", k=ONE, c=weight(2))
    _, result = check_pass(RemoveNoop(), model)
    assert missed(result) == [reason]


def test_graph_output_keeps_its_name_and_other_users_follow() -> None:
    model = model_from("g (float[2] x) => (float[2] y, float[2] z) { r = Exp(x) y = Mul(r, k) z = Neg(r) }", k=ONE)
    after, _ = check_pass(RemoveNoop(), model)
    assert ops(after) == ["Exp", "Neg"]


def test_quantized_operand_is_not_constant() -> None:
    body = "r = Exp(x) k = DequantizeLinear(q, s) y = Mul(r, k)"
    model = model_from(f"g (float[2] x) => (float[2] y) {{ {body} }}", q=np.int8(2), s=np.float32(0.5))
    assert not check_pass(RemoveNoop(), model)[1].changed


def test_what_only_it_read_goes() -> None:
    body = "r = Exp(x) s = Sin(x) t = Cos(s) u = Where(k, r, t) y = Neg(u)"
    model = model_from(f"g (float[2] x) => (float[2] y) {{ {body} }}", k=np.array(True))
    assert ops(check_pass(RemoveNoop(), model)[0]) == ["Exp", "Neg"]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] x) => (float[2] r) {
        o = Exp(x)
        r = If (p) <
            then_branch = t () => (float[2] y) { a = Mul(o, k) y = Neg(a) },
            else_branch = e () => (float[2] z) { z = Mul(o, k) }
        >
    }"""
    after, result = check_pass(RemoveNoop(), model_from(text, k=ONE), feeds={"p": np.array(True), "x": weight(2)})
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Neg"]
    assert missed(result) == ["the output `z` is `o`, which the outer graph computes"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(NOTHING), min_size=1, max_size=4), st.booleans(), OPSETS)
def test_random_chains(chain: list[tuple[str, dict[str, Any]]], observed: bool, opset: int) -> None:
    chain = [(node, given) for node, given in chain if opset >= 15 or not node.startswith("CastLike")]
    lines, constants, last = ["r = Exp(x)"], {}, "r"
    for place, (node, named) in enumerate(chain):
        names = {name: f"{name}{place}" for name in named}
        constants.update({names[name]: array for name, array in named.items()})
        lines.append(f"t{place} = {node.format(r=last, **names)}")
        last = f"t{place}"
    outputs = "float[2,3,4] y, float[2,3,4] r" if observed else "float[2,3,4] y"
    body = " ".join([*lines, f"y = Neg({last})"])
    after, _ = check_pass(
        RemoveNoop(), model_from(f"g (float[2,3,4] x) => ({outputs}) {{ {body} }}", opset=opset, **constants)
    )
    assert ops(after) == ["Exp", "Neg"]
