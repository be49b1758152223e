"""A newer operator set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.opset import MINIMUM_OPSET, newest_opset, raise_opset
from pruna_ir.passes.simplify.reference import Reference
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class RaiseOpset(Pass):
    """Raise the version of the standard operator set, by ONNX's version converter.

        before   opset 17: ReduceMean<axes=[1]>(x)
        after    opset 23: ReduceMean(x, [1])

    Newer versions have operators that older ones spell out (Gelu since 20, RMSNormalization and Attention since 23).
    The result runs against the original on a calibration sample, or on random inputs where there is no data.

    Fails with M011 if the model's opset is higher than `to`, or if `to` is newer than what the installed onnx and ONNX
    Runtime know; with M006 if an operator cannot be converted; with M010 if an output changes by more than 1e-5 of its
    range, or if ONNX Runtime has no kernel for a new version. Other domains' operators stay as they are.
    """

    name: ClassVar[str] = "raise-opset"
    effect: ClassVar[Effect] = Effect.EXACT

    to: int | None = option(None, "the version to raise to; none: the newest that is installed", low=MINIMUM_OPSET)

    def run(self, model: Model, context: Context) -> PassResult:
        before, newest = model.opset, newest_opset()
        to = newest if self.to is None else self.to
        _check(before, to, newest)
        original = model.to_proto()
        if before == to or not any(_is_standard(entry) for entry in original.opset_import):
            return PassResult()

        def difference(first: onnx.ModelProto, second: onnx.ModelProto) -> float | None:
            return _difference(first, second, context)

        raised, evidence = raise_opset(original, to, self.name, difference)
        model.adopt(raised)
        result = PassResult(changed=True)
        added = len(raised.graph.node) - len(original.graph.node)
        values = before, to, added, evidence
        result.remarks.append(self.remark(RemarkKind.PASSED, "", "raised from {} to {}, {:+} nodes, {}", *values))
        return result


def _check(before: int, to: int, newest: int) -> None:
    if before > to:
        help_text = f"export the model with opset_version={to}, or leave the opset as it is"
        message = f"the model's opset is {before}: it cannot be lowered to {to}"
        raise error("M011", message, place=RaiseOpset.name, help=help_text)
    if to > newest:
        message = f"opset {to} is newer than the installed onnx and onnxruntime, which know up to {newest}"
        raise error("M011", message, place=RaiseOpset.name, help=f"ask for {newest} or less, or install newer versions")


def _is_standard(entry: onnx.OperatorSetIdProto) -> bool:
    return entry.domain in ("", "ai.onnx")


def _difference(first: onnx.ModelProto, second: onnx.ModelProto, context: Context) -> float | None:
    """Largest difference of the two models' outputs; None if the first does not run."""
    with Reference(first, context) as reference:
        try:
            reference.wait()
        except PrunaError:
            return None
        return reference.largest_difference(second)
