"""Patterns of nodes."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered
from hypothesis import given
from hypothesis import strategies as st
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Product, Scalar, Value, find, maybe, misfit, replace, scalar
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match
from pruna_ir.testing import ops

X, Z = Value("x"), Value("z")


def graph(body: str, inputs: str = "float[2,3] x, float[2,3] z", outputs: str = "float[2,3] y") -> Model:
    return numbered(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=17)


def found(pattern: Pattern, body: str) -> Match | None:
    """The match whose last node is the one that stands last."""
    return find(pattern, graph(body).graph.nodes[-1])


def names(match: Match | None) -> dict[str, str]:
    assert match is not None
    return {name: part.name for name, part in match.items() if name in ("x", "z", "k", "inner")}


def problem(pattern: Pattern, body: str) -> str | None:
    match = found(pattern, body)
    assert match is not None
    return None if match["problem"] is None else str(match["problem"])


def test_the_same_value_is_the_same_tensor() -> None:
    square = Op("Mul", X, X)
    assert names(found(square, "y = Mul(x, x)")) == {"x": "x"}
    assert found(square, "y = Mul(x, z)") is None


@pytest.mark.parametrize("body", ["a = Sigmoid(x) y = Mul(x, a)", "a = Sigmoid(x) y = Mul(a, x)"])
def test_commutative_operands(body: str) -> None:
    assert names(found(Op("Mul", X, Op("Sigmoid", X)), body)) == {"x": "x"}


def test_operands_of_others_keep_their_order() -> None:
    pattern = Op("Sub", X, Op("Relu", X))
    assert found(pattern, "a = Relu(x) y = Sub(x, a)") is not None
    assert found(pattern, "a = Relu(x) y = Sub(a, x)") is None


def test_operators_of_other_domains_are_others() -> None:
    model = graph("y = Relu(x)")
    model.graph.nodes[0].domain = "com.example"
    assert find(Op("Relu", X), model.graph.nodes[0]) is None
    assert find(Op("com.example::Relu", X), model.graph.nodes[0]) is not None


def test_nodes_are_captured() -> None:
    match = found(Op("Neg", Op(("Relu", "Abs"), X, name="inner")), "a = Abs(x) y = Neg(a)")
    assert match is not None
    assert match["inner"].op == "Abs"
    assert [node.op for node in match["nodes"]] == ["Neg", "Abs"]
    assert match["root"].op == "Neg"


def test_one_name_is_one_node() -> None:
    pattern = Op("Add", Op("Relu", X, name="inner"), Op("Neg", Op("Relu", X, name="inner")))
    assert found(pattern, "a = Relu(x) n = Neg(a) y = Add(a, n)") is not None
    assert found(pattern, "a = Relu(x) b = Relu(x) n = Neg(b) y = Add(a, n)") is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [(Op("Clip", X), False), (Op("Clip", X, ...), True), (Op("Clip", X, Scalar(0), Scalar(6)), True)],
)
def test_further_inputs(pattern: Pattern, fits: bool) -> None:
    assert (found(pattern, "y = Clip(x, #0, #6)") is not None) == fits


def test_inputs_that_are_left_out() -> None:
    assert found(Op("Clip", X), 'y = Clip(x, "", "")') is not None
    assert found(Op("Clip", X, Scalar(0)), "y = Clip(x)") is None


def test_other_outputs_are_not_the_first() -> None:
    model = graph("a, b = Split<axis = 0>(x) y = Neg(b)", outputs="float[1,3] y")
    assert find(Op("Neg", Op("Split", X)), model.graph.nodes[-1]) is None


@pytest.mark.parametrize(
    ("value", "fits"), [("0.70710678", True), ("0.70711", True), ("0.7072", False), ("-0.5", False)]
)
def test_values_of_constants(value: str, fits: bool) -> None:
    wrong = problem(Op("Mul", X, Scalar(0.5**0.5)), f"y = Mul(x, #{value})")
    assert wrong == (None if fits else f"`k_{value.replace('.', '_').replace('-', '_')}` is {value}, not 0.7071068")


def test_what_is_no_constant() -> None:
    assert problem(Op("Mul", X, Op("Add", X, Scalar(1))), "a = Add(x, z) y = Mul(x, a)") == "`z` is not a constant"


def test_what_is_no_number() -> None:
    model = model_from("g (float[2,3] x) => (float[2,3] y) { y = Mul(x, k) }", k=np.ones(3, np.float32))
    match = find(Op("Mul", X, Scalar(1)), model.graph.nodes[0])
    assert match is not None
    assert str(match["problem"]) == "`k` of shape [3] is not a number"


def test_two_wrong_constants_are_another_idiom() -> None:
    pattern = Op("Clip", X, Scalar(0), Scalar(6))
    assert problem(pattern, "y = Clip(x, #0, #5)") == "`k_5` is 5, not 6"
    assert found(pattern, "y = Clip(x, #1, #5)") is None


def test_no_near_miss_where_none_is_wanted() -> None:
    assert found(Op("Mul", X, Scalar(2, near=False)), "y = Mul(x, #3)") is None


def test_constants_are_captured() -> None:
    match = found(Op("Add", X, Scalar(name="k")), "y = Add(#0.25, x)")
    assert match is not None
    assert scalar(match["k"]) == 0.25


def test_half_precision_constants() -> None:
    text = "g (float16[2] x) => (float16[2] y) { y = Mul(x, #0.7978845608) }"
    match = find(Op("Mul", X, Scalar((2 / np.pi) ** 0.5)), numbered(text, "float16", opset=17).graph.nodes[0])
    assert match is not None
    assert match["problem"] is None


def test_the_best_choice() -> None:
    pattern = OneOf(Op("Mul", X, Scalar(2)), Op("Mul", X, Scalar(3)))
    assert problem(pattern, "y = Mul(x, #3)") is None
    assert problem(pattern, "y = Mul(x, #4)") == "`k_4` is 4, not 2"


def test_optional_nodes() -> None:
    pattern = Op("Neg", maybe("Cast", Op("Relu", X), name="inner"))
    assert "inner" not in (found(pattern, "a = Relu(x) y = Neg(a)") or {})
    assert "inner" in (found(pattern, "a = Relu(x) b = Cast<to = 1>(a) y = Neg(b)") or {})


factors = st.permutations(["x", "z", "s", "#0.5", "#4", "#3"])


@given(factors, st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=5, max_size=5))
def test_products_in_any_order_and_association(order: list[str], joints: list[tuple[int, bool]]) -> None:
    """Two factors at a time are joined, in some order, until one is left; constants may divide by their inverse."""
    inverse = {"#0.5": "#2", "#4": "#0.25", "#3": "#0.33333334"}
    waiting, lines = list(order), ["s = Sigmoid(x)"]
    for step, (place, divides) in enumerate(joints):
        left = waiting.pop(place % len(waiting))
        right = waiting.pop(place % len(waiting))
        if divides and right in inverse and left not in inverse:
            lines.append(f"t{step} = Div({left}, {inverse[right]})")
        else:
            lines.append(f"t{step} = Mul({left}, {right})")
        waiting.append(f"t{step}")
    body = " ".join([*lines, f"y = Mul({waiting[0]}, #1)"])
    if any(f"Mul({a}, {b})" in body for a in inverse for b in inverse):
        return  # constants are folded before
    match = found(Product(X, Z, Op("Sigmoid", X), scale=6), body)
    assert names(match) == {"x": "x", "z": "z"}
    assert match is not None
    assert match["problem"] is None


def test_scale_of_a_product() -> None:
    body = "a = Mul(x, #3) b = Div(a, #4) y = Mul(b, z)"
    match = found(Product(X, Z, scale=None, name="k"), body)
    assert match is not None
    assert match["k"] == 0.75
    assert problem(Product(X, Z, scale=2), body) == "`y` has the factor 0.75, not 2"


def test_part_of_a_product_is_no_near_miss() -> None:
    model = graph("a = Mul(x, z) y = Mul(a, #2)")
    inner, outer = model.graph.nodes
    assert find(Product(X, Z, scale=2), inner) is None
    assert find(Product(X, Z, scale=2), outer) is not None


def test_division_by_zero_is_no_factor() -> None:
    assert found(Product(X, scale=2), "y = Div(x, #0)") is None


def test_the_deepest_factor_that_nobody_else_needs() -> None:
    pattern = Op("Neg", Product(X, scale=None, name="k"))
    match = found(pattern, "a = Mul(x, #2) y = Neg(a)")
    assert match is not None
    assert (match["x"].name, match["k"]) == ("x", 2)
    model = graph("a = Mul(x, #2) b = Relu(a) y = Neg(a)", outputs="float[2,3] y, float[2,3] b")
    match = find(pattern, model.graph.nodes[-1])
    assert match is not None
    assert (match["x"].name, match["k"]) == ("a", 1)


def test_endless_products_end() -> None:
    body = " ".join(f"t{step} = Mul({f't{step - 1}' if step else 'x'}, #2)" for step in range(3000))
    assert found(Product(Op("Relu", X), scale=None, name="k"), f"{body} y = Mul(t2999, #2)") is None


def test_a_value_has_no_root() -> None:
    assert OneOf(Op("Relu", X), Product(X)).roots == ("Relu", "Mul", "Div")
    with pytest.raises(TypeError, match="Value cannot be the root"):
        _ = OneOf(Op("Relu", X), X).roots


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("a = Relu(x) y = Neg(a)", "float[2,3] y", None),
        ("a = Relu(x) y = Neg(a)", "float[2,3] y, float[2,3] a", "`a` is an output of the graph"),
        ("a = Relu(x) b = Abs(a) y = Neg(a)", "float[2,3] y, float[2,3] b", "`a` is also read by `b`"),
        ("a = Relu(x) y = Neg(a) b = Abs(y)", "float[2,3] y, float[2,3] b", None),
    ],
)
def test_tensors_that_must_survive(body: str, outputs: str, reason: str | None) -> None:
    model = graph(body, outputs=outputs)
    match = find(Op("Neg", Op("Relu", X)), next(node for node in model.graph.nodes if node.op == "Neg"))
    assert match is not None
    assert str(misfit(match, Rewriter(model.graph))) == str(reason)


def test_replace() -> None:
    model = graph("a = Relu(x) b = Neg(a) y = Abs(b)")
    model.graph.nodes[1].name = "minus"
    match = find(Op("Neg", Op("Relu", X)), model.graph.nodes[1])
    assert match is not None
    rewriter = Rewriter(model.graph)
    node = replace(match, rewriter, "Elu", [match["x"]], {"alpha": 2.0})
    rewriter.commit()
    assert ops(model) == ["Elu", "Abs"]
    assert (node.name, node.outputs[0].name, dict(node.attrs)) == ("minus", "b", {"alpha": 2.0})


@pytest.mark.parametrize(
    ("pattern", "enough", "too_few"),
    [
        (Op("Mul", X, Op("Sigmoid", X)), "Mul Sigmoid", "Mul"),
        (OneOf(Op("Relu", X), Op("Add", X, Op("Exp", X))), "Relu", "Add Sigmoid"),
        (OneOf(Op("Relu", X), Op("Add", X, Op("Exp", X))), "Add Exp", "Exp"),
        (OneOf(Op("Relu", X), X), "", None),
        (Product(X, Op(("Sin", "Cos"), X)), "Cos", "Mul"),
        (Product(X, Z), "", None),
        (Op("Sqrt", Op("ReduceMean", X), ...), "ReduceMean Sqrt", "ReduceMean"),
        (Op("Clip", X, Scalar(0), Scalar(6)), "Clip", "Relu"),
    ],
)
def test_operators_that_a_match_needs(pattern: Pattern, enough: str, too_few: str | None) -> None:
    assert pattern.possible(set(enough.split()))
    assert too_few is None or not pattern.possible(set(too_few.split()))
