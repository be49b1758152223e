"""All fusion rules together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse import Fuse
from pruna_ir.pipeline.build import build, to_text
from pruna_ir.pipeline.context import Steps
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason
from pruna_ir.testing import check_pass, ops, run_pass

GRAPH = """g (float[1,3,4,4] x) => (float[1,5] y) {
    c = Conv(x, w)
    n = BatchNormalization(c, k, k, k, k)
    a = Mul(n, s)
    p = GlobalAveragePool(a)
    f = Flatten(p)
    m = MatMul(f, v)
    y = Add(m, b)
}"""


def network() -> Model:
    return model_from(GRAPH, w=weight(4, 3, 1, 1), k=positive(4), s=positive(4, 1, 1), v=weight(4, 5), b=weight(5))


def test_rules_take_up_what_others_leave() -> None:
    after, result = check_pass(Fuse(), network())
    assert ops(after) == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert result.counts == {"fuse-conv-bn": 1, "fuse-conv-affine": 1, "fuse-matmul-add": 1}


def test_only() -> None:
    _, result = check_pass(Fuse(only=("fuse-conv-bn",)), network())
    assert result.counts == {"fuse-conv-bn": 1}


def test_skip() -> None:
    _, result = check_pass(Fuse(skip=("fuse-conv-bn",)), network())
    assert result.counts == {"fuse-matmul-add": 1}


def test_text() -> None:
    text = "fuse<only=[fuse-conv-bn,fuse-conv-affine];skip=[fuse-conv-affine]>"
    assert to_text(build(text)) == text


def test_unknown_rule() -> None:
    with pytest.raises(PrunaError, match=r"`fuse-conf-bn` is no rule of `fuse`(.|\n)*`fuse-conv-bn`"):
        Fuse(only=("fuse-conf-bn",))


@pytest.mark.parametrize("limit", range(4))
def test_every_application_is_a_step(limit: int) -> None:
    model, steps = network(), Steps(limit)
    result = run_pass(Fuse(), model, steps=steps)
    assert sum(result.counts.values()) == limit == len(steps.taken)


def test_steps_name_the_rule_and_the_node() -> None:
    steps = Steps()
    run_pass(Fuse(), network(), steps=steps)
    assert sorted(steps.taken) == ["fuse-conv-affine at `a`", "fuse-conv-bn at `n`", "fuse-matmul-add at `y`"]


@dataclass(frozen=True)
class FuseReluRelu(Rule):
    """Relu(Relu(x)) is Relu(x): a rule as another package would bring it."""

    name: ClassVar[str] = "fuse-relu-relu"
    roots: ClassVar[tuple[str, ...]] = ("Relu",)

    def match(self, root: gs.Node) -> Match | None:
        writers = root.inputs[0].inputs
        return {"root": root, "first": writers[0]} if writers and writers[0].op == "Relu" else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return rewriter.not_internal(match["first"].outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        rewriter.take_over(match["first"], match["root"].outputs[0])
        rewriter.erase(match["root"])


def test_rules_of_other_packages_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**registry.passes(), "fuse-relu-relu": f"{__name__}:FuseReluRelu"}
    monkeypatch.setattr(registry, "passes", lambda: known)
    monkeypatch.setattr(
        registry,
        "resolve",
        lambda reference, real=registry.resolve: (
            FuseReluRelu if reference == known["fuse-relu-relu"] else real(reference)
        ),
    )
    assert "fuse-relu-relu" in Fuse.rules()
    model = model_from("g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    after, result = check_pass(Fuse(skip=("remove-noop",)), model)
    assert result.counts == {"fuse-relu-relu": 2}
    assert ops(after) == ["Relu"]


def test_foreign_domains_are_other_operators() -> None:
    model = network()
    model.graph.nodes[2].domain = "com.example"
    assert "fuse-conv-affine" not in run_pass(Fuse(), model).counts


def test_no_names_clash_over_scopes() -> None:
    """The Conv outside gets a new bias; the sub-graph has a tensor of the name that would be natural for it."""
    model = model_from(
        """g (bool p, float[1,3,4,4] x) => (float[1,4,4,4] r, float[1,4,4,4] y) {
            c = Conv(x, w) y = Mul(c, s)
            r = If (p) <
                then_branch = t () => (float[1,4,4,4] t) { w_1 = Relu(x) t = Conv(w_1, w) },
                else_branch = e () => (float[1,4,4,4] e) { e = Conv(x, w) }
            >
        }""",
        w=weight(4, 3, 1, 1),
        s=positive(4, 1, 1),
    )
    after, _ = check_pass(Fuse(), model)
    assert after.graph.nodes[0].inputs[1].name == "w_2"
