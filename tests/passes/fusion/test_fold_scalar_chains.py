"""Mul and Div, or Add and Sub, by scalars in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fold_scalar_chains import FoldScalarChains
from pruna_ir.testing import check_pass, missed, ops


def chain(body: str, outputs: str = "float[2,3] y", dtype: str = "float", **scalars: Any) -> Model:
    values: dict[str, Any] = {
        name: np.asarray(value, np.float16 if dtype == "float16" else np.float32) for name, value in scalars.items()
    }
    return model_from(f"g ({dtype}[2,3] x) => ({outputs}) {{ {body} }}", **values)


@pytest.mark.parametrize(
    ("body", "op", "value"),
    [
        ("t = Mul(x, a) y = Mul(b, t)", "Mul", 12),
        ("t = Mul(a, x) y = Div(t, b)", "Mul", 1 / 3),
        ("t = Div(x, a) y = Mul(t, b)", "Mul", 3),
        ("t = Div(x, a) y = Div(t, b)", "Div", 12),
        ("t = Add(x, a) y = Add(b, t)", "Add", 8),
        ("t = Sub(x, a) y = Sub(t, b)", "Add", -8),
        ("t = Sub(x, a) y = Sub(b, t)", "Sub", 8),
        ("t = Sub(a, x) y = Sub(b, t)", "Add", 4),
        ("t = Sub(a, x) y = Add(t, b)", "Sub", 8),
    ],
)
def test_fires(body: str, op: str, value: float) -> None:
    after, result = check_pass(FoldScalarChains(), chain(body, a=2, b=6))
    (node,) = after.graph.nodes
    constant = next(tensor for tensor in node.inputs if tensor.name != "x")
    assert node.op == op
    assert float(constant.values) == pytest.approx(value)
    assert result.counts == {"fold-scalar-chains": 1}


def test_long_chain_keeps_the_rank() -> None:
    body = "t = Mul(x, a) u = Div(t, b) y = Mul(u, a)"
    after, _ = check_pass(FoldScalarChains(), chain(body, "float[1,1,2,3] y", a=2, b=np.full((1, 1, 1, 1), 5)))
    assert ops(after) == ["Mul"]


@pytest.mark.parametrize(
    ("body", "op", "values"),
    [("t = Mul(x, a) y = Div(t, b)", "Mul", [1, 2, 3]), ("t = Sub(b, x) y = Add(t, a)", "Sub", [4, 6, 8])],
)
def test_a_scalar_joins_a_tensor(body: str, op: str, values: list[float]) -> None:
    after, _ = check_pass(FoldScalarChains(), chain(body, a=[[2, 4, 6]], b=2))
    (node,) = after.graph.nodes
    constant = next(tensor for tensor in node.inputs if tensor.name != "x")
    assert node.op == op and constant.values.tolist() == [values]


def test_float16() -> None:
    model = chain("t = Mul(x, a) y = Mul(t, b)", "float16[2,3] y", "float16", a=2, b=6)
    after, _ = check_pass(FoldScalarChains(), model, tolerance=5e-3)
    assert after.graph.nodes[0].inputs[1].dtype == np.float16


def test_shared_constants_are_left_alone() -> None:
    model = chain("t = Mul(x, a) y = Mul(t, a) z = Mul(x, a)", "float[2,3] y, float[2,3] z", a=3)
    after, _ = check_pass(FoldScalarChains(), model)
    assert sorted(float(node.inputs[1].values) for node in after.graph.nodes) == [3, 9]


ZERO = "the factors 0.0 and 2.0 are not both finite and other than zero"
OVERFLOW = "the value between the two could leave the range of its type where the result does not"


@pytest.mark.parametrize(
    ("body", "outputs", "scalars", "reason"),
    [
        ("t = Mul(x, a) y = Mul(t, b)", "y, t", (2, 3), "`t` is an output of the graph"),
        ("t = Mul(x, a) y = Mul(t, b) z = Neg(t)", "y, z", (2, 3), "`t` has 2 users"),
        ("t = Mul(x, a) y = Mul(t, b)", "y", ([1, 2, 3], [4, 5, 6]), "neither `a` nor `b` is a scalar"),
        ("t = Mul(x, a) z = Mul(x, a) y = Mul(t, b)", "y, z", ([1, 2, 3], 3), "`a` has 2 users"),
        ("t = Mul(x, a) y = Mul(t, b)", "y", ([1, 0, 3], 2), ZERO),
        ("t = Add(x, a) y = Sub(t, b)", "y", ([1, 64, 9], 64), "the terms 64.0 and -64.0 cancel each other"),
        ("t = Mul(x, a) y = Mul(t, b)", "y", (1e-30, 1e30), OVERFLOW),
        ("t = Mul(x, a) y = Div(t, b)", "y", (1e20, 1e20), OVERFLOW),
        ("t = Mul(x, a) y = Mul(t, b)", "y", (1e20, 1e20), "the fused constant would not be finite in float32"),
        ("t = Mul(x, a) y = Mul(t, b)", "y", (0, 2), ZERO),
        ("t = Add(x, a) y = Sub(t, b)", "y", (1024, 1024), "the terms 1024.0 and -1024.0 cancel each other"),
        ("t = Add(x, a) y = Sub(b, t)", "y", (4, 5), "the terms -4.0 and 5.0 cancel each other"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, outputs: str, scalars: tuple[Any, Any], reason: str) -> None:
    typed = ", ".join(f"float[2,3] {name}" for name in outputs.split(", "))
    _, result = check_pass(FoldScalarChains(), chain(body, typed, a=scalars[0], b=scalars[1]))
    assert missed(result) == [reason]


def test_a_joint_factor_with_few_digits_is_not_made() -> None:
    model = chain("t = Mul(x, a) y = Mul(t, b)", "float16[2,3] y", "float16", a=2e-3, b=2e-3)
    after, result = check_pass(FoldScalarChains(), model)
    assert ops(after) == ["Mul", "Mul"]
    assert missed(result) == ["the joint constant would be so small that its type has few digits for it"]


def test_float16_has_no_range_to_spare() -> None:
    model = chain("t = Mul(x, a) y = Div(t, b)", "float16[2,3] y", "float16", a=100, b=200)
    _, result = check_pass(FoldScalarChains(), model)
    assert missed(result) == [OVERFLOW]


def test_quantized_scalar() -> None:
    body = "k = DequantizeLinear(q, s) t = Mul(x, k) y = Mul(t, k)"
    model = model_from(f"g (float[2] x) => (float[2] y) {{ {body} }}", q=np.int8(2), s=np.float32(0.5))
    _, result = check_pass(FoldScalarChains(), model)
    assert missed(result) == ["`k` is quantized: fusing would lose its scale"]


def test_integers() -> None:
    model = model_from("g (int32[2] x) => (int32[2] y) { t = Add(x, k) y = Add(t, k) }", k=np.int32(2))
    _, result = check_pass(FoldScalarChains(), model)
    assert missed(result) == ["`k` holds int32, not floats that NumPy knows"]


@pytest.mark.parametrize(
    "body", ["t = Mul(x, a) y = Add(t, b)", "t = Mul(x, a) y = Div(b, t)", "t = Mul(x, x) y = Mul(t, b)"]
)
def test_no_match(body: str) -> None:
    _, result = check_pass(FoldScalarChains(), chain(body, a=2, b=3))
    assert missed(result) == []
    assert not result.changed


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] x) => (float[2] r) {
        o = Mul(x, a)
        r = If (p) <
            then_branch = t () => (float[2] y) { c = Mul(x, a) y = Mul(c, a) },
            else_branch = e () => (float[2] z) { z = Mul(o, a) }
        >
    }"""
    feeds = {"p": np.array(True), "x": weight(2)}
    after, result = check_pass(FoldScalarChains(), model_from(text, a=np.float32(3)), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Mul"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


PRODUCTS = ["Mul({x}, {k})", "Mul({k}, {x})", "Div({x}, {k})"]
SUMS = ["Add({x}, {k})", "Sub({x}, {k})", "Sub({k}, {x})"]


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, float]]:
    """Products, or sums: after a product near zero, a sum's rounding is large beside the range of what comes out."""
    step = st.tuples(st.sampled_from(draw(st.sampled_from([PRODUCTS, SUMS]))), st.floats(-8, 8, width=32))
    return draw(st.lists(step, min_size=2, max_size=5))


@settings(max_examples=40, deadline=None)
@given(steps(), st.integers(13, 23))
def test_random_chains(nodes: list[tuple[str, float]], opset: int) -> None:
    assume(all(abs(value) > 1e-2 for _, value in nodes))
    lines, last = [], "x"
    for place, (node, _) in enumerate(nodes):
        lines.append(f"t{place} = {node.format(x=last, k=f'k{place}')}")
        last = f"t{place}"
    scalars = {f"k{place}": np.float32(value) for place, (_, value) in enumerate(nodes)}
    text = f"g (float[64] x) => (float[64] y) {{ {' '.join(lines)} y = Neg({last}) }}"
    check_pass(FoldScalarChains(), model_from(text, opset=opset, **scalars), feeds={"x": weight(64)})
