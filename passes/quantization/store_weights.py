"""The store-weights pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.passes.quantization.plan import weight_axis
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import OpRow, Target

_FLOAT = np.dtype(np.float32)
# Fractions of the wanted share that the guard tries in turn.
FRACTIONS = (1.0, 0.95, 0.9, 0.8, 0.6, 0.3)


@dataclass(frozen=True)
class StoreWeights(Pass):
    """Store the weights of layers that stay in float as 8-bit integers, at no cost in speed.

    Before:  Conv(x, w)
    After:   Conv(x, Mul(Cast(w8), scale))

    The runtime computes Cast and Mul once, when it loads the model, so the kernels are those of the float model; a
    DequantizeLinear there would stay in the graph and keep the fast kernels away. Each output channel has its scale.
    Needs a target whose runtime folds constants, and its default optimization level. Small weights and those that are
    not constant stay as they are.
    """

    name: ClassVar[str] = "store-weights"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    after: ClassVar[tuple[str, ...]] = ("quantize",)

    share: float = option(
        0.95, "share of the float weights' bytes to store in 8 bits, the largest first", low=0.0, high=1.0
    )
    exclude: tuple[str, ...] = option((), "nodes whose weights stay in float: globs over names, or op:TYPE")
    guard: bool = option(True, "with data: store less where the model would lose accuracy")

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite the weights of `model`."""
        result = PassResult()
        target = context.target
        check_patterns(model.graph.nodes, self.exclude, self.name)
        if not target.stores_weights:
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "{} does not fold constants at load", target.name))
            return result
        share = self.share
        if self.guard and context.data is not None:
            share = float(context.decisions.decide(f"{self} share", lambda: self._accurate_share(model, context)))
            if share < self.share:
                reason = "{:.0%} of the weights are stored in 8 bits, not {:.0%}: more costs accuracy"
                result.remarks.append(self.remark(RemarkKind.MISSED, "", reason, share, self.share))
        stored = self._store_all(model, target, share)
        if stored:
            result.count("weights stored in 8 bits", stored)
        return result

    def _accurate_share(self, model: Model, context: Context) -> float:
        """The largest share, among a few fractions of the wanted one, that keeps the score."""
        evaluator = Evaluator(context.require_data(self.name), context.reference)
        for step, fraction in enumerate(FRACTIONS):
            candidate = model.clone()
            if not self._store_all(candidate, context.target, fraction * self.share):
                return self.share  # there is nothing to store
            context.progress("checking stored weights", step + 1, len(FRACTIONS))
            if evaluator.acceptable(evaluator.drop(candidate), context.max_drop):
                return fraction * self.share
        return 0.0

    def _store_all(self, model: Model, target: Target, share: float) -> int:
        """Store the largest weights until `share` of the bytes is reached; how many that were."""
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        found = [(node, weight) for node in model.graph.nodes if (weight := _float_weight(node, target)) is not None]
        chosen = _largest([weight for _, (weight, _) in found], share)
        rewriter = Rewriter(model.graph)
        stored: dict[tuple[int, int], gs.Tensor] = {}
        for node, (weight, row) in found:
            if id(node) not in excluded and id(weight) in chosen:
                self._store(node, (weight, row), rewriter, stored)
        rewriter.commit()
        return len(stored)

    @staticmethod
    def _store(
        node: gs.Node,
        found: tuple[gs.Constant, OpRow],
        rewriter: Rewriter,
        stored: dict[tuple[int, int], gs.Tensor],
    ) -> None:
        weight, row = found
        axis = weight_axis(node, row, len(weight.shape))
        assert row.weight is not None
        if (id(weight), axis) not in stored:
            scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=axis, narrow=True)
            stored[id(weight), axis] = _decompress(node, weight, scheme, rewriter)
        node.inputs[row.weight] = stored[id(weight), axis]


def _float_weight(node: gs.Node, target: Target) -> tuple[gs.Constant, OpRow] | None:
    row = target.ops.get(node.op)
    if row is None or row.weight is None or len(node.inputs) <= row.weight:
        return None
    weight = node.inputs[row.weight]
    if not isinstance(weight, gs.Constant) or weight.dtype != _FLOAT or len(weight.shape) < 2:
        return None
    return weight, row


def _largest(weights: list[gs.Constant], share: float) -> set[int]:
    """The ids of the fewest weights that hold `share` of all their elements.

    A layer's share of the error does not shrink with its size, its share of the bytes does: the many small weights of
    a network cost most of the accuracy and save almost nothing.
    """
    unique = sorted({id(weight): weight for weight in weights}.values(), key=lambda weight: -weight.values.size)
    left = share * sum(weight.values.size for weight in unique)
    chosen = set()
    for weight in unique:
        if left <= 0:
            break
        chosen.add(id(weight))
        left -= weight.values.size
    return chosen


def _decompress(before: gs.Node, weight: gs.Constant, scheme: Scheme, rewriter: Rewriter) -> gs.Tensor:
    """`weight` as integers -> Cast -> Mul by the scale of each channel."""
    params = scheme.of_weights(weight.values)
    name, shape = weight.name, list(weight.shape)
    integers = rewriter.constant(f"{name}_stored", scheme.quantize(weight.values, params))
    scale = rewriter.constant(f"{name}_scale", params.broadcast(len(shape))[0])
    cast = rewriter.variable(f"{name}_cast", _FLOAT, shape)
    result = rewriter.variable(f"{name}_restored", _FLOAT, shape)
    rewriter.insert(gs.Node("Cast", f"{name}_Cast", {"to": 1}, [integers], [cast]), before)
    rewriter.insert(gs.Node("Mul", f"{name}_Mul", {}, [cast, scale], [result]), before)
    return result
