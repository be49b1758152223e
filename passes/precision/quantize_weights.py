"""The quantize-weights pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.damage import Chosen, too_damaging
from pruna_ir.model.invariants import node_name
from pruna_ir.model.opset import raise_opset
from pruna_ir.passes.precision.products import Lookup, Product, Use, alone_in_float, use_of
from pruna_ir.passes.precision.stored_weights import Rounding, StoredWeight, stored_weights, write
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# The first operator set with integers of 4 bits and a scale for each block.
_BLOCK_OPSET = 21
_OPS = ("MatMul", "Gemm", "Gather")


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Store the weights of matrix products and embeddings in 8 or 4 bits; everything is computed in float.

    Before:  MatMul(x, w);  Gather(table, i)
    After:   MatMul(x, DequantizeLinear(w4, scales));  Mul(Cast(Gather(table8, i)), Gather(scales, i))

    For models that spend their time reading weights. A product has a scale for each `block` of inputs and output
    (runtimes multiply from such blocks: ONNX Runtime's MatMulNBits), an embedding one for each row, of 8 bits. Blocks
    and 4 bits raise the model's opset to 21. With data, the weights that lose most stay in float as far as the score
    needs it.
    """

    name: ClassVar[str] = "quantize-weights"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    before: ClassVar[tuple[str, ...]] = ("store-weights", "convert-fp16")

    bits: Literal["8", "4"] = option("8", "bits of a weight")
    block: int = option(32, "inputs of a product that share a scale; 0: all of them", low=0)
    ops: tuple[str, ...] = option(_OPS, "operators whose weights are stored: MatMul, Gemm, Gather")
    symmetric: bool = option(True, "zero points are 0; otherwise each block has one")
    exclude: tuple[str, ...] = option((), "nodes whose weights stay in float: globs over names, or op:TYPE")
    smallest: int = option(1024, "weights of fewer elements stay: nodes and scales take what they save", low=1)
    guard: bool = option(True, "with data: store fewer weights where the model would lose accuracy")

    def run(self, model: Model, context: Context) -> PassResult:
        """Store the weights of `model`."""
        check_patterns(model.graph.nodes, self.exclude, self.name)
        result = PassResult()
        if not self._uses(model, PassResult()):
            self._uses(model, result)
            return result
        context.before_rounding(model)
        if int(self.bits) < 8 or self.block:
            self._raise_opset(model, result)
        rounding = Rounding(int(self.bits), self.block, self.symmetric)
        weights = stored_weights(model.graph, self._uses(model, result), rounding)
        weights = self._accurate(model, weights, context, result)
        write(model.graph, weights)
        if weights:
            result.count("weights in integers", len(weights))
        return result

    def _raise_opset(self, model: Model, result: PassResult) -> None:
        if model.opset >= _BLOCK_OPSET:
            return
        before = model.opset
        raised, evidence = raise_opset(model.to_proto(), _BLOCK_OPSET, self.name)
        model.adopt(raised)
        text = "the opset is raised from {} to {}, {}"
        result.remarks.append(self.remark(RemarkKind.PASSED, "", text, before, _BLOCK_OPSET, evidence))
        result.changed = True

    def _accurate(
        self, model: Model, weights: list[StoredWeight], context: Context, result: PassResult
    ) -> list[StoredWeight]:
        """The weights that can be stored without losing accuracy."""
        if not self.guard or context.data is None or not weights:
            return weights

        def build(chosen: Chosen) -> Model:
            candidate = model.clone()
            write(candidate.graph, [weights[index] for index in sorted(chosen)])
            return candidate

        def measure() -> list[int]:
            evaluator = Evaluator(context.require_data(self.name), context.reference)
            return too_damaging(len(weights), build, evaluator, context.max_drop, context.progress)

        refused = set(context.decisions.decide(f"{self} weights", measure))
        if refused:
            text = "{} of {} weights stay in float: more in integers cost accuracy"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", text, len(refused), len(weights)))
        return [weight for index, weight in enumerate(weights) if index not in refused]

    def _uses(self, model: Model, result: PassResult) -> list[Use]:
        """What can be stored, and remarks about what cannot."""
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        found, refused = [], []
        for node in model.graph.nodes:
            use = use_of(node) if node.op in self.ops and id(node) not in excluded else None
            if isinstance(use, Product | Lookup):
                if use.weight.values.size >= self.smallest:
                    found.append(use)
            elif use is not None:
                refused.append((node, use))
        kept, shared = alone_in_float(found, model.graph)
        for node, reason in [*refused, *shared]:
            result.remarks.append(
                self.remark(RemarkKind.MISSED, node_name(node), "its weights stay in float: {}", reason)
            )
        return kept
