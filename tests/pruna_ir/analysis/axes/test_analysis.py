"""The analysis of whole graphs: what is protected, what groups are and are called, what is left after a cut."""

from __future__ import annotations

from typing import Any

import pytest
from axis_checks import check_groups, described
from onnx_text import model_from, weight

import pruna_ir as pi
from pruna_ir import demo
from pruna_ir.analysis.axes import AxisRule, NodeAxes, Use, analyze, barrier, rules
from pruna_ir.model import Model
from pruna_ir.remarks import Reason


def chain(middle: str, outputs: str = "float[n,2,5,5] y", *, opset: int = 17, **weights: Any) -> Model:
    """Two convolutions around nodes from `h` to `r`."""
    text = f"g (float[n,3,5,5] x) => ({outputs}) {{ h = Conv(x, a) {middle} y = Conv(r, c) }}"
    return model_from(text, opset=opset, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1), **weights)


def reason(model: Model) -> str:
    """Why the first group is protected."""
    return str(described(analyze(model))["h"])


def test_trained_network() -> None:
    model = pi.load(demo.MODEL)
    pi.PassManager.parse("simplify,fuse").run(model)
    analysis = check_groups(model)
    assert len(analysis.free) == len(analysis.groups) - 1


def test_network_that_is_not_simplified() -> None:
    assert len(check_groups(pi.load(demo.MODEL)).free) > 1


def test_graph_output_stays() -> None:
    assert reason(chain("r = Relu(h)", "float[n,2,5,5] y, float[n,8,5,5] r")) == "`r` is an output of the graph"


def test_operator_without_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rules.RULES, "Mish")
    assert reason(chain("r = Mish(h)", opset=18)) == "`r` (Mish) is an operator without an axis rule"


def test_bodies_are_barriers() -> None:
    yes = "then_branch = yes () => (float[n,8,5,5] t) { t = Relu(h) }"
    branches = yes + ", else_branch = no () => (float[n,8,5,5] e) { e = Neg(h) }"
    model = chain(f"s = ReduceMax<keepdims=0>(x) b = Cast<to=9>(s) r = If(b) <{branches}>")
    assert reason(model) == "`r` (If) has bodies, which are not cut"


def test_unknown_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain("r = Relu(h)")
    model.graph.nodes[1].outputs[0].shape = None
    assert described(check_groups(model))["h"] == 8  # the rank follows from what the rule of Relu writes
    monkeypatch.setitem(rules.RULES, "Relu", barrier("does something"))
    assert reason(model) == "`r` (Relu) does something"


def test_symbolic_channels_stay() -> None:
    text = "g (float[n,c,5,5] x) => (float[n,2,5,5] y) { r = Relu(x) y = Conv(r, w) }"
    assert analyze(model_from(text, w=weight(2, 8, 1, 1))).free == ()


def says_nothing(at: NodeAxes) -> None:
    """A rule that writes no output."""


def says_what_is_not_so(at: NodeAxes) -> Reason | None:
    """A rule that writes an output of another shape."""
    at.write([at.input(0)[0], at.fresh(5), None, None])
    return None


@pytest.mark.parametrize(
    ("relate", "expected"),
    [
        (says_nothing, "writes `r`, of which its rule says nothing"),
        (says_what_is_not_so, "writes `r` of a shape that does not follow from its inputs"),
    ],
)
def test_wrong_rules_are_barriers(relate: Any, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rules.RULES, "Relu", AxisRule(relate))
    assert reason(chain("r = Relu(h)")) == f"`r` (Relu) {expected}"


def test_constants_in_nodes() -> None:
    """Weights that Constant nodes hold, as exporters write them, are constants like others."""
    numbers = ", ".join(f"{value:.3f}" for value in weight(8))
    model = chain(f"k = Constant<value = float[8,1,1] {{{numbers}}}>() r = Add(h, k)")
    analysis = check_groups(model)
    assert Use("r", 1, 0) in analysis.group("h").carriers


def test_names_tell_groups_of_one_producer_apart() -> None:
    text = (
        "g (float[n,3] x) => (float[n,4] y) "
        "{ h = MatMul(x, a) p, q = Split<axis=1>(h) s = Softplus(q) j = Concat<axis=1>(s, p) y = MatMul(j, c) }"
    )
    analysis = analyze(model_from(text, a=weight(3, 8), c=weight(8, 4)))
    assert [group.name for group in analysis.free] == ["h", "h #2"]
    assert analysis.positions(analysis.group("h #2"), Use("y", 1, 0)).ravel().tolist() == [0, 1, 2, 3]


def test_holds_for_clones_and_repeats() -> None:
    model = pi.load(demo.MODEL)
    first, second = analyze(model), analyze(model.clone())
    assert [group.name for group in first.groups] == [group.name for group in second.groups]
    for one, other in zip(first.groups, second.groups, strict=True):
        assert one.units.tolist() == other.units.tolist()
        assert one.consumers == other.consumers


def test_what_may_not_go() -> None:
    analysis = analyze(chain("r = Relu(h)"))
    with pytest.raises(KeyError, match="nobody"):
        analysis.gone({"nobody": [0]})
    with pytest.raises(ValueError, match="`y` is protected: `y` is an output"):
        analysis.gone({"y": [0]})
    with pytest.raises(ValueError, match="`h` would lose all of its 8 units"):
        analysis.gone({"h": range(8)})
    with pytest.raises(IndexError):
        analysis.gone({"h": [8]})
    assert analysis.gone({"h": [0, 0, 3], "y": []}).sum() == 2


def test_without() -> None:
    analysis = analyze(chain("r = Relu(h)")).without({"h": [0, 3]})
    group = analysis.group("h")
    assert (group.size, analysis.positions(group, Use("y", 1, 1)).ravel().tolist()) == (6, [0, 1, 2, 3, 4, 5])
    assert analysis.without({"h": [5]}).group("h").size == 5
    with pytest.raises(IndexError):
        analysis.gone({"h": [6]})
