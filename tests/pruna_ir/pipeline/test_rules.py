from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.pipeline.context import Context, Steps
from pruna_ir.pipeline.pass_base import PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, constants, drive, op_key, producer
from pruna_ir.remarks import Reason, RemarkKind


@dataclass(frozen=True)
class DoubleNegation(Rule):
    """Neg(Neg(x)) is x."""

    name: ClassVar[str] = "double-negation"
    roots: ClassVar[tuple[str, ...]] = ("Neg",)

    def match(self, root: gs.Node) -> Match | None:
        inner = producer(root.inputs[0], "Neg")
        return {"inner": inner, "outer": root} if inner is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        if rewriter.is_output(match["outer"].outputs[0]):
            return Reason("`{}` is an output of the graph", match["outer"].outputs[0].name)
        return rewriter.not_internal(match["inner"].outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        rewriter.redirect(match["outer"].outputs[0], match["inner"].inputs[0])
        rewriter.erase(match["outer"])
        rewriter.erase(match["inner"])


@dataclass(frozen=True)
class AbsOfAbs(Rule):
    """Abs(Abs(x)) is Abs(x)."""

    name: ClassVar[str] = "abs-of-abs"
    roots: ClassVar[tuple[str, ...]] = ("Abs",)

    def match(self, root: gs.Node) -> Match | None:
        inner = producer(root.inputs[0], "Abs")
        return {"inner": inner, "outer": root} if inner is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        rewriter.set_input(match["outer"], 0, match["inner"].inputs[0])


RULES = [DoubleNegation(), AbsOfAbs()]


def model_of(*ops: str) -> Model:
    """A chain of unary operators from `x` to `y`; the nodes are named by their numbers."""
    names = ["x", *(f"t{index}" for index in range(len(ops) - 1)), "y"]
    nodes = "\n".join(f"[n{at}] {names[at + 1]} = {op} ({names[at]})" for at, op in enumerate(ops))
    return Model.from_text(f'<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) {{ {nodes} }}')


def run(model: Model, rules: list[Rule] | None = None, steps: Steps | None = None) -> tuple[PassResult, Context]:
    context = Context(model.clone(), registry.target("ort-x86"), steps=steps or Steps())
    result = drive(RULES if rules is None else rules, model, context)
    model.check()
    return result, context


def test_rules_run_to_a_fixed_point() -> None:
    model = model_of("Neg", "Neg", "Neg", "Neg", "Neg", "Exp")
    result, context = run(model)
    assert [node.op for node in model.graph.nodes] == ["Neg", "Exp"]
    assert result.counts == {"double-negation": 2}
    assert context.rule_stats[0]["double-negation"].fired == 2
    again, _ = run(model)
    assert not again.changed


def test_what_one_rule_leaves_another_takes_up() -> None:
    """Only without the negations do the two Abs meet."""
    model = model_of("Abs", "Neg", "Neg", "Abs", "Exp")
    result, _ = run(model)
    assert result.counts == {"double-negation": 1, "abs-of-abs": 1}
    assert model.graph.nodes[-2].inputs[0] is model.graph.inputs[0]


def test_reasons_become_remarks_once_a_node() -> None:
    result, _ = run(model_of("Exp", "Neg", "Neg"))
    assert [str(remark) for remark in result.remarks] == [
        "missed [double-negation] `n2`: `y` is an output of the graph"
    ]
    assert not result.changed


@dataclass(frozen=True)
class Unread(Rule):
    """An Exp that nothing reads is nothing."""

    name: ClassVar[str] = "unread"
    roots: ClassVar[tuple[str, ...]] = ("Exp",)

    def match(self, root: gs.Node) -> Match | None:
        return {"root": root} if not root.outputs[0].outputs else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        rewriter.erase(match["root"])


def test_a_reason_that_no_longer_holds_is_forgotten() -> None:
    """The first Neg has two users when the second is tried; one of them goes, and then it is tried again."""
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) {
            [first] t = Neg (x)
            [second] u = Neg (t)
            [gone] z = Exp (t)
            [last] y = Abs (u)
        }
        """
    )
    result, _ = run(model, [DoubleNegation(), Unread()])
    assert [node.name for node in model.graph.nodes] == ["last"]
    assert [remark.kind for remark in result.remarks] == [RemarkKind.PASSED] * 2


def test_bodies_are_driven_as_graphs_of_their_own() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) {
            [o] t = Neg (x)
            y = If (c) <
                then_branch = a () => (float[2] r) { [p] u = Neg (x) [q] v = Neg (u) [w] r = Exp (v) },
                else_branch = b () => (float[2] s) { [z] k = Neg (t) [k] s = Exp (k) }
            >
        }
        """
    )
    result, _ = run(model)
    assert result.counts["double-negation"] >= 1
    assert [node.name for node in model.graph.nodes[-1].attrs["then_branch"].nodes] == ["w"]


def test_a_node_of_a_body_is_left_to_the_body() -> None:
    """The outer rewrite touches the Exp in the body, which nothing reads: the body's own driver removes it."""
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) {
            t = Neg (x)
            u = Neg (t)
            y = If (c) <
                then_branch = a () => (float[2] r) { [gone] z = Exp (u) r = Abs (u) },
                else_branch = b () => (float[2] s) { s = Abs (x) }
            >
        }
        """
    )
    result, _ = run(model, [DoubleNegation(), Unread()])
    assert result.counts == {"double-negation": 1, "unread": 1}
    assert [node.op for node in model.graph.nodes] == ["If"]
    assert [node.op for node in model.graph.nodes[0].attrs["then_branch"].nodes] == ["Abs"]


def test_a_rule_is_left_out_below_and_above_its_opsets() -> None:
    class Newer(DoubleNegation):
        opsets: ClassVar[tuple[int, int]] = (18, 20)

    class Older(DoubleNegation):
        opsets: ClassVar[tuple[int, int]] = (13, 16)

    for rule in (Newer(), Older()):
        assert not run(model_of("Neg", "Neg", "Exp"), [rule])[0].changed


def test_the_first_of_two_rules_for_a_root_wins() -> None:
    class Second(DoubleNegation):
        name: ClassVar[str] = "second"

    result, context = run(model_of("Neg", "Neg", "Exp"), [DoubleNegation(), Second()])
    assert result.counts == {"double-negation": 1}
    assert "second" not in context.rule_stats[0] or context.rule_stats[0]["second"].fired == 0


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_steps_stop_the_driver(limit: int) -> None:
    steps = Steps(limit)
    result, _ = run(model_of(*["Neg"] * 4, "Exp"), steps=steps)
    assert len(steps.taken) == sum(result.counts.values()) == limit


def test_a_rule_is_a_pass() -> None:
    model = model_of("Neg", "Neg", "Exp")
    context = Context(model.clone(), registry.target("ort-x86"))
    assert DoubleNegation().run(model, context).counts == {"double-negation": 1}


def test_operators_of_other_domains_are_not_mistaken_for_standard_ones() -> None:
    foreign = gs.Node("Neg", domain="com.example")
    assert op_key(foreign) == "com.example::Neg"
    assert op_key(gs.Node("Neg", domain="ai.onnx")) == op_key(gs.Node("Neg")) == "Neg"
    tensor = gs.Variable("t")
    foreign.outputs.append(tensor)
    assert producer(tensor, "Neg") is None
    assert producer(tensor, "com.example::Neg") is producer(tensor) is foreign


def test_the_first_tensor_that_is_no_constant_is_named() -> None:
    constant = gs.Constant("k", np.ones(1, np.float32))
    assert constants([constant]) is None
    assert str(constants([constant, gs.Variable("v"), gs.Variable("w")])) == "`v` is not a constant"
    assert producer(constant) is None


@dataclass(frozen=True)
class ReluOfAbs(Rule):
    """Relu(Abs(x)) as a Gelu: not true, but for the driver to decide on."""

    name: ClassVar[str] = "relu-of-abs"
    roots: ClassVar[tuple[str, ...]] = ("Relu",)
    makes: ClassVar[tuple[str, int] | None] = ("Gelu", 20)
    requires: ClassVar[frozenset[str]] = frozenset({"Abs", "Elu"})

    def match(self, root: gs.Node) -> Match | None:
        return {"root": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return None if producer(match["root"].inputs[0], "Abs") else Reason("no Abs")

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        match["root"].op = "Gelu"


def test_operators_that_the_opset_lacks_are_not_made() -> None:
    model = model_of("Abs", "Relu", "Exp")
    result, _ = run(model, [ReluOfAbs()])
    assert [str(remark.reason) for remark in result.remarks] == [
        "opset 17 has no Gelu (since 20): `--opset 20` raises it"
    ]
    model.graph.opset = 20
    result, _ = run(model, [ReluOfAbs()])
    assert result.counts == {"relu-of-abs": 1}


def test_operators_that_the_target_is_slow_at_are_not_made() -> None:
    model = model_of("Abs", "Relu", "Exp")
    target = replace(registry.target("ort-x86"), name="here", slow_ops=frozenset({"Gelu"}))
    result = drive([ReluOfAbs()], model, Context(model.clone(), target))
    assert [str(remark.reason) for remark in result.remarks] == ["Gelu is slower than its parts on `here`"]


def test_what_the_rule_finds_wrong_comes_first() -> None:
    result, _ = run(model_of("Abs", "Neg", "Relu", "Exp"), [ReluOfAbs()])
    assert [str(remark.reason) for remark in result.remarks] == ["no Abs"]


def test_rules_are_not_tried_without_the_operators_that_they_require() -> None:
    _, context = run(model_of("Neg", "Relu", "Exp"), [ReluOfAbs()])
    assert context.rule_stats == [{}]

    class Maker(DoubleNegation):
        makes: ClassVar[tuple[str, int] | None] = ("Elu", 6)

    _, context = run(model_of("Neg", "Relu", "Exp"), [ReluOfAbs(), Maker()])
    assert context.rule_stats[0]["relu-of-abs"].tried == 1
