"""Outputs of the model that nobody needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pruna_ir.diagnostics import did_you_mean, error
from pruna_ir.passes.simplify.dead_code import DeadCode
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class DropOutputs(Pass):
    """Remove outputs of the model, and all that only they needed.

        before   x -> Conv -> features -> Gemm -> y     features is an output too
        after    x -> Conv -> features -> Gemm -> y     y is the only output

    For the heads that training needed, and for intermediate results that were exported for debugging. The outputs that
    are left keep their order.

    Fails on a name that is no output of the model, and where none would be left.
    """

    name: ClassVar[str] = "drop-outputs"
    effect: ClassVar[Effect] = Effect.STRUCTURAL

    names: tuple[str, ...] = option((), "outputs to remove")

    def run(self, model: Model, context: Context) -> PassResult:
        known = [tensor.name for tensor in model.graph.outputs]
        for name in self.names:
            if name not in known:
                message = f"`{name}` is no output of the model"
                raise error("P004", message, place=self.name, help=did_you_mean(name, known, "output"))
        kept = [tensor for tensor in model.graph.outputs if tensor.name not in self.names]
        if not kept:
            raise error("P004", "the model would have no output left", place=self.name)
        if len(kept) == len(known):
            return PassResult()
        model.graph.outputs = kept
        result = DeadCode().run(model, context)
        result.count("outputs removed", len(known) - len(kept))
        return result
