"""The lint-qdq pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.lint.rules import RULES
from pruna_ir.passes.quantization.lint.runtime import prove, why_float
from pruna_ir.passes.quantization.lint.view import QdqView
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

# A diagnostic names so many violations; all of them are remarks.
_SHOWN = 20


@dataclass(frozen=True)
class LintQdq(Pass):
    """Check that a quantized graph is what a target takes, and list what stays in float. Changes nothing.

    Every violation is a remark that begins with the name of a rule: `missed` where the target would refuse the graph,
    compute something else or run an op in float, `analysis` where it only loses speed. Rules read the target's table.
    For ONNX Runtime the graph is also loaded, and the optimized one says which kernels really became integer kernels;
    what should have and did not is a remark of the rule `not-fused`, which `strict` lets pass: it is legal.
    Sub-graphs are not looked into.
    """

    name: ClassVar[str] = "lint-qdq"
    effect: ClassVar[Effect] = Effect.EXACT

    target: str = option("", "table to check against; empty: the run's target")
    strict: bool = option(False, "fail if there is a violation")

    def run(self, model: Model, context: Context) -> PassResult:
        """Look at `model`; raises Q001 for violations if `strict`."""
        target = registry.target(self.target) if self.target else context.target
        view, result = QdqView(model.graph, target), PassResult()
        for rule in RULES:
            kind = RemarkKind.ANALYSIS if rule.advice else RemarkKind.MISSED
            for node, reason in rule.check(view):
                result.remarks.append(self.remark(kind, node_name(node), "{}: {}", rule.name, reason))
        violations = [remark for remark in result.remarks if remark.kind is RemarkKind.MISSED]
        if self.strict and violations:
            raise _violated(target, violations)
        if target.runtime in _PROOFS:
            result.remarks += _PROOFS[target.runtime](self, model, view, violations)
        result.remarks.append(
            self.remark(RemarkKind.ANALYSIS, "", "{} violations of the rules of {}", len(violations), target.name)
        )
        return result

    def proved_by_loading(self, model: Model, view: QdqView, violations: list[Remark]) -> list[Remark]:
        """What ONNX Runtime makes of the graph: each kernel that stays in float with the reason, and the counts."""
        blamed: Mapping[str, Reason | str] = {remark.node: remark.reason for remark in reversed(violations)}
        try:
            proof = prove(model, view)
        except PrunaError as refusal:
            return [self.remark(RemarkKind.MISSED, "", "refused: {}", refusal.diagnostic.message)]
        remarks = [
            self.remark(
                RemarkKind.MISSED, place, "not-fused: it runs in float: {}", blamed.get(place, why_float(kernel))
            )
            for kernel in proof.floats
            if kernel.quantized
            for place in [node_name(kernel.node)]
        ]
        return [*remarks, self.remark(RemarkKind.ANALYSIS, "", "{}", proof.summary())]


# Runtimes that load a graph here and say what they made of it.
_PROOFS: dict[str, Callable[[LintQdq, Model, QdqView, list[Remark]], list[Remark]]] = {
    "ONNX Runtime": LintQdq.proved_by_loading,
}


def _violated(target: Target, violations: list[Remark]) -> Exception:
    shown = [f"`{remark.node}`: {remark.reason}" for remark in violations[:_SHOWN]]
    more = [f"and {len(violations) - _SHOWN} more"] if len(violations) > _SHOWN else []
    return error(
        "Q001",
        f"the graph breaks {len(violations)} rules of `{target.name}`",
        help=f"quantize the float model for it: quantize<target={target.name}>",
        notes=[*shown, *more],
    )
