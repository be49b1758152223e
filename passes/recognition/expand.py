"""Operators written out in simpler ones: the inverse of recognition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import checks
from pruna_ir.model.conversion import expand
from pruna_ir.passes.simplify.reference import Reference
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Largest difference from the original's outputs, relative to their range.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Expand(Pass):
    """Write operators out in simpler ones, as ONNX defines them, for runtimes that lack them.

        before   HardSwish(x)
        after    Mul(x, HardSigmoid<alpha=1/6, beta=0.5>(x))

    The bodies are those of the ONNX standard at the model's opset; sub-graphs are expanded too. Bodies hold constants
    to fold and casts that do nothing: `simplify` and `fuse` behind this pass remove them. The result runs against the
    original on a calibration sample, or on random inputs where there is no data.

    Does not fire on operators that `ops` does not name; nor if ONNX has no body for an operator at this opset, if its
    inliner fails on it, if the result changes an output by more than 1e-5 of its range, or if the model runs on no
    input to verify it with.
    """

    name: ClassVar[str] = "expand"
    effect: ClassVar[Effect] = Effect.EXACT

    ops: tuple[str, ...] = option((), "operators to write out, such as [Gelu,LayerNormalization]")

    def __post_init__(self) -> None:
        known = expandable()
        for op in self.ops:
            if op not in known:
                listing = f"those that ONNX defines by others: {', '.join(known)}"
                raise error("P004", f"`{op}` has no body to expand to", place=self.name, help=listing)

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        original = model.to_proto()
        present = [op for op in self.ops if _count(original, op)]
        if present:
            with Reference(original, context) as reference:
                found = original
                for op in present:
                    found = self._expand(op, found, reference, result)
        if result.changed:
            model.adopt(found)
        return result

    def _expand(self, op: str, proto: onnx.ModelProto, reference: Reference, result: PassResult) -> onnx.ModelProto:
        """The model with one operator written out, or as it was, and a remark that says why."""
        try:
            expanded = expand(proto, op)
            reason = _problem(op, proto, expanded, reference)
        except RuntimeError as failure:
            reason = Reason("ONNX cannot write it out: {}", str(failure).strip().splitlines()[-1])
        if reason is not None:
            result.remarks.append(Remark(RemarkKind.MISSED, self.name, op, reason))
            return proto
        count = _count(proto, op)
        result.count(op, count)
        result.remarks.append(self.remark(RemarkKind.PASSED, op, "{} written out", count))
        return expanded


def expandable() -> list[str]:
    """The standard operators that ONNX defines by others, in some version."""
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain and _has_body(schema)})


def _has_body(schema: Any) -> bool:
    return bool(schema.has_function or schema.has_context_dependent_function)


def _count(proto: onnx.ModelProto, op: str) -> int:
    return sum(node.op_type == op and not node.domain for graph in checks.graphs(proto.graph) for node in graph.node)


def _problem(op: str, before: onnx.ModelProto, after: onnx.ModelProto, reference: Reference) -> Reason | None:
    if _count(after, op) >= _count(before, op):
        opset = next(entry.version for entry in before.opset_import if entry.domain in ("", "ai.onnx"))
        return Reason("ONNX gives it no body at opset {}", opset)
    try:
        difference = reference.largest_difference(after)
    except PrunaError as failure:
        return Reason("the result cannot be verified: {}", failure.diagnostic.message)
    return Reason("an output would change by {:.1e} of its range", difference) if difference > _TOLERANCE else None
