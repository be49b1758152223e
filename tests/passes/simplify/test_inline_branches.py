"""If whose condition is known."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.passes.simplify.inline_branches import InlineBranches
from pruna_ir.testing import check_pass, missed, ops

YES, NO = np.array(True), np.array(False)
FEEDS = {"x": weight(3)}


def choice(then: str, other: str = "z{0} = Abs(a)", condition: str = "p", name: str = "r") -> str:
    """An If that writes `name`; `{0}` is what tells its names from others'."""
    tag = name
    return f"""{name} = If ({condition}) <
        then_branch = t{tag} () => (float[3] y{tag}) {{ {then.format(tag)} }},
        else_branch = e{tag} () => (float[3] z{tag}) {{ {other.format(tag)} }}
    >"""


def graph(body: str, outputs: str = "float[3] out") -> str:
    return f"g (float[3] x) => ({outputs}) {{ a = Relu(x) {body} }}"


@pytest.mark.parametrize(("condition", "left"), [(YES, ["Relu", "Neg", "Exp", "Sin"]), (NO, ["Relu", "Abs", "Sin"])])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_takes_the_branch(condition: np.ndarray, left: list[str], shape: tuple[int, ...]) -> None:
    body = choice("b{0} = Neg(a) y{0} = Exp(b{0})") + " out = Sin(r)"
    after, result = check_pass(InlineBranches(), model_from(graph(body), p=condition.reshape(shape)), feeds=FEEDS)
    assert ops(after) == left
    assert result.counts == {"branches inlined": 1}


@pytest.mark.parametrize("then", ["y{0} = Neg(a)", "y{0} = Identity(a)", "y{0} = Identity(k)"])
def test_output_of_the_graph_keeps_its_name(then: str) -> None:
    after, _ = check_pass(
        InlineBranches(), model_from(graph(choice(then), "float[3] r"), p=YES, k=weight(3)), feeds=FEEDS
    )
    assert "If" not in ops(after)
    assert after.graph.outputs[0].name == "r"


def test_one_tensor_for_two_outputs() -> None:
    text = """g (float[3] x) => (float[3] u, float[3] v) {
        u, v = If (p) <
            then_branch = t () => (float[3] b, float[3] f) { b = Neg(x) f = Identity(b) },
            else_branch = e () => (float[3] c, float[3] d) { c = Abs(x) d = Exp(x) }
        >
    }"""
    after, _ = check_pass(InlineBranches(), model_from(text, p=YES), feeds=FEEDS)
    assert sorted(ops(after)) == ["Identity", "Neg"]


def test_branches_of_equal_names() -> None:
    then = "k = Neg(a) y{0} = Exp(k)"
    body = f"{choice(then, name='r')} {choice(then, name='s')} out = Add(r, s)"
    after, _ = check_pass(InlineBranches(), model_from(graph(body), p=YES), feeds=FEEDS)
    assert ops(after) == ["Relu", "Neg", "Exp", "Neg", "Exp", "Add"]


def test_names_of_nested_branches_stay_apart() -> None:
    inner = choice("k = Neg(a) yi = Exp(k)", "zi = Abs(a)", condition="q", name="i")
    body = choice(f"{inner.replace('{', '{{').replace('}', '}}')} k = Sin(i) y{{0}} = Cos(k)".replace("{{0}}", "{0}"))
    text = f"g (float[3] x, bool q) => (float[3] out) {{ a = Relu(x) {body} k2 = Neg(r) out = Exp(k2) }}"
    after, result = check_pass(InlineBranches(), model_from(text, p=YES), feeds={**FEEDS, "q": YES})
    assert ops(after) == ["Relu", "If", "Sin", "Cos", "Neg", "Exp"]
    assert missed(result) == ["`q` is not a constant"]


def test_branches_inside_of_branches() -> None:
    inner = choice("yi = Exp(a)", "zi = Abs(a)", name="i").replace("{", "{{").replace("}", "}}")
    body = choice(f"{inner} y{{0}} = Cos(i)") + " out = Neg(r)"
    after, result = check_pass(InlineBranches(), model_from(graph(body), p=YES), feeds=FEEDS)
    assert ops(after) == ["Relu", "Exp", "Cos", "Neg"]
    assert result.counts == {"branches inlined": 2}


def test_inside_of_a_loop() -> None:
    inner = choice("yi = Exp(v)", "zi = Abs(v)", name="i")
    text = f"""g (float[3] x, int64 m) => (float[3] out) {{
        out = Loop (m, p, x) <
            body = step (int64 t, bool go, float[3] v) => (bool on, float[3] w) {{
                on = Identity(go) {inner} w = Neg(i) }}
        >
    }}"""
    after, _ = check_pass(InlineBranches(), model_from(text, p=YES), feeds={**FEEDS, "m": np.array(2)})
    assert [node.op for node in after.graph.nodes[0].attrs["body"].nodes] == ["Identity", "Exp", "Neg"]


def test_constants_of_a_branch_come_along() -> None:
    body = choice("w = Constant <value = float[3] {{1, 2, 3}}> () y{0} = Mul(a, w)") + " out = Sin(r)"
    after, _ = check_pass(InlineBranches(), model_from(graph(body), p=YES), feeds=FEEDS)
    assert ops(after) == ["Relu", "Constant", "Mul", "Sin"]


def test_computed_condition_stays() -> None:
    text = f"g (float[3] x, bool p) => (float[3] out) {{ a = Relu(x) {choice('y{0} = Exp(a)')} out = Sin(r) }}"
    after, result = check_pass(InlineBranches(), model_from(text), feeds={**FEEDS, "p": YES})
    assert ops(after) == ["Relu", "If", "Sin"]
    assert missed(result) == ["`p` is not a constant"]


def test_many_branches_in_a_row() -> None:
    steps = [choice(f"y{{0}} = Neg(r{i})", f"z{{0}} = Abs(r{i})", name=f"r{i + 1}") for i in range(300)]
    text = f"g (float[3] x) => (float[3] out) {{ r0 = Relu(x) {' '.join(steps)} out = Exp(r300) }}"
    after, _ = check_pass(InlineBranches(), model_from(text, p=YES), feeds=FEEDS)
    assert len(after.graph.nodes) == 302


@pytest.mark.parametrize("decided", [YES, NO])
@pytest.mark.parametrize("read", ["n", "q"])
def test_condition_behind_not(decided: np.ndarray, read: str) -> None:
    body = f"a = Relu(x) n = Not(p) q = Not(n) {choice('y{0} = Exp(a)')} out = Sin(r)"
    text = f"g (float[3] x, bool p) => (float[3] out) {{ {body} }}"
    model = model_from(text.replace("If (p)", f"If ({read})"))
    after, result = check_pass(InlineBranches(), model, feeds={**FEEDS, "p": decided})
    assert after.graph.nodes[3].inputs[0].name == "p"
    assert result.counts == {"conditions turned": 1}
