"""What holds for every recognition rule, on all forms of the idioms in `decomposed`."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from decomposed import ACTIVATIONS, NORMS, Idiom, numbered
from onnx_text import model_from, weight

from pruna_ir import registry
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.targets import Target
from pruna_ir.testing import check_pass, missed, ops, run_pass

IDIOMS = (*ACTIVATIONS, *NORMS)
# The host's target, were it fast at everything.
WILLING: Target = replace(registry.target("ort-cpu"), slow_ops=frozenset())

every_idiom = pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: f"{idiom.op}-{IDIOMS.index(idiom)}")
ONE_OF_EACH = list({idiom.rule: idiom for idiom in IDIOMS}.values())
every_rule = pytest.mark.parametrize("idiom", ONE_OF_EACH, ids=lambda idiom: str(idiom.rule))


def rule(idiom: Idiom) -> Recognition:
    found = registry.pass_class(idiom.rule)()
    assert isinstance(found, Recognition)
    return found


def last_between(idiom: Idiom) -> str:
    """The tensor that the last node but one writes."""
    return str(re.findall(r"(\w+) = \w+ ?[<(]", idiom.body)[-2])


@every_idiom
def test_fires(idiom: Idiom) -> None:
    after, result = check_pass(rule(idiom), idiom.model(), target=WILLING)
    assert result.counts == {idiom.rule: 1}
    (node,) = after.graph.nodes
    assert node.op == idiom.op
    assert dict(node.attrs) == pytest.approx(idiom.attributes)


@every_idiom
def test_output_between_stays(idiom: Idiom) -> None:
    between = last_between(idiom)
    model = idiom.model(outputs=f", float[] {between}")
    after, result = check_pass(rule(idiom), model, target=WILLING)
    assert ops(after) == ops(model)
    assert missed(result) == [f"`{between}` is an output of the graph"]


@every_idiom
def test_other_user_stays(idiom: Idiom) -> None:
    between = last_between(idiom)
    model = idiom.model(outputs=", float[] z", more=f"z = Neg({between})")
    after, result = check_pass(rule(idiom), model, target=WILLING)
    assert ops(after) == ops(model)
    assert missed(result) == [f"`{between}` is also read by `z`"]


@every_rule
def test_half_precision(idiom: Idiom) -> None:
    after, _ = check_pass(rule(idiom), idiom.model(dtype="float16"), target=WILLING, tolerance=4e-3)
    assert ops(after) == [idiom.op]


@pytest.mark.parametrize("idiom", [idiom for idiom in ONE_OF_EACH if (rule(idiom).makes or ("", 0))[1] > 13])
def test_old_opset(idiom: Idiom) -> None:
    op, since = rule(idiom).makes or ("", 0)
    model = idiom.model()
    model.graph.opset = since - 1
    result = run_pass(rule(idiom), model, target=WILLING)
    assert ops(model) == ops(idiom.model())
    assert missed(result) == [f"opset {since - 1} has no {op} (since {since}): `--opset {since}` raises it"]


@pytest.mark.parametrize("idiom", [idiom for idiom in ONE_OF_EACH if rule(idiom).makes], ids=lambda idiom: idiom.rule)
def test_slow_operators_are_not_made(idiom: Idiom) -> None:
    slow = replace(WILLING, slow_ops=frozenset({idiom.op}), name="here")
    _, result = check_pass(rule(idiom), idiom.model(), target=slow)
    assert missed(result) == [f"{idiom.op} is slower than its parts on `here`"]


@pytest.mark.parametrize(
    "idiom", list({idiom.rule: idiom for idiom in ACTIVATIONS}.values()), ids=lambda idiom: idiom.rule
)
def test_double_precision_activations_stay(idiom: Idiom) -> None:
    result = run_pass(rule(idiom), idiom.model(dtype="double"), target=WILLING)
    assert missed(result) == ["`x` holds float64, not float16 or float32"]


SOFTSIGN = next(idiom for idiom in ACTIVATIONS if idiom.op == "Softsign")


def test_constant_that_adds_a_dimension() -> None:
    text = "g (float[3] x) => (float[1,3] y) { a = Abs(x) b = Add(a, k) y = Div(x, b) }"
    _, result = check_pass(rule(SOFTSIGN), model_from(text, k=np.ones((1, 1), np.float32)))
    assert missed(result) == ["`k` of shape [1, 1] adds dimensions to `x` of shape [3]"]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] x) => (float[2] r) {
        a = Abs(x)
        r = If (p) <
            then_branch = t () => (float[2] y) { b = Abs(x) c = Add(b, #1) y = Div(x, c) },
            else_branch = e () => (float[2] z) { d = Add(a, #1) z = Div(x, d) }
        >
    }"""
    feeds = {"p": np.array(True), "x": weight(2)}
    after, result = check_pass(rule(SOFTSIGN), numbered(text, opset=17), feeds=feeds)
    assert ops(after) == ["Abs", "If"]
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Softsign"]
    assert missed(result) == ["`a` is computed outside of the sub-graph that reads it"]


def test_read_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[2] x) => (float[2] y, float[2] r) {
        a = Abs(x) b = Add(a, #1) y = Div(x, b)
        r = If (p) <
            then_branch = t () => (float[2] s) { s = Neg(b) },
            else_branch = e () => (float[2] z) { z = Neg(x) }
        >
    }"""
    feeds = {"p": np.array(True), "x": weight(2)}
    _, result = check_pass(rule(SOFTSIGN), numbered(text, opset=17), feeds=feeds)
    assert missed(result) == ["`b` is read inside of a sub-graph"]
