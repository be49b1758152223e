"""The store-weights pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.passes.quantization.kernel import row_of, weight_axis
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

_FLOAT = np.dtype(np.float32)
# Ops that look rows up in a constant, and the position of that: tables are the half of a language model's bytes.
_LOOKUPS = {"Gather": 0}
# Fractions of the wanted share that the guard chooses from, where all of it is too much.
FRACTIONS = (0.95, 0.9, 0.8, 0.6, 0.3)


@dataclass(frozen=True)
class StoreWeights(Pass):
    """Store the weights of layers that stay in float as 8-bit integers, at no cost in speed.

    Before:  Conv(x, w)
    After:   Conv(x, Mul(Cast(w8), scale))

    The runtime computes Cast and Mul once, when it loads the model, so the kernels are those of the float model; a
    DequantizeLinear there would stay in the graph and keep the fast kernels away. Each output channel has its scale,
    and so has each row of a table that Gather looks up. Needs a target whose runtime folds constants, and its default
    optimization level. Small weights and those that are not constant stay as they are.
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
        """The largest share, among a few fractions of the wanted one, that keeps the score: found by bisection."""
        evaluator = Evaluator(context.require_data(self.name), context.reference)
        tried: dict[int, bool] = {}

        def keeps_the_score(share: float) -> bool:
            candidate = model.clone()
            stored = self._store_all(candidate, context.target, share)
            if stored not in tried:  # the largest so many weights: another share of them can be the same ones
                context.progress("checking stored weights", len(tried), len(FRACTIONS))
                tried[stored] = not stored or evaluator.acceptable(evaluator.drop(candidate), context.max_drop)
            return tried[stored]

        if keeps_the_score(self.share):
            return self.share
        return self.share * _largest_accepted(FRACTIONS, lambda fraction: keeps_the_score(fraction * self.share))

    def _store_all(self, model: Model, target: Target, share: float) -> int:
        """Store the largest weights until `share` of the bytes is reached; how many that were."""
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        found = _storable(model.graph, target, excluded)
        chosen = _largest([use.weight for use in found], share)
        rewriter, names = Rewriter(model.graph), NodeNames(model.graph)
        stored: dict[tuple[int, int], gs.Tensor] = {}
        for use in found:
            if id(use.weight) in chosen:
                key = (id(use.weight), use.axis)
                if key not in stored:
                    stored[key] = _decompress(use, rewriter, names)
                rewriter.set_input(use.node, use.position, stored[key])
        rewriter.commit()
        return len(chosen)


@dataclass(frozen=True)
class _Use:
    """A node that reads a float weight at an input position, with its output channels along an axis."""

    node: gs.Node
    position: int
    weight: gs.Constant
    axis: int


def _storable(graph: gs.Graph, target: Target, excluded: Collection[int]) -> list[_Use]:
    """The uses of weights of which nobody needs the float form: not the output, another op or a sub-graph."""
    uses = [use for node in graph.nodes if id(node) not in excluded and (use := _use(node, target)) is not None]
    counts = Counter(id(use.weight) for use in uses)
    outputs = {id(tensor) for tensor in graph.outputs}
    return [use for use in uses if len(use.weight.outputs) == counts[id(use.weight)] and id(use.weight) not in outputs]


def _use(node: gs.Node, target: Target) -> _Use | None:
    row = row_of(node, target)
    position = _LOOKUPS.get(node.op, row.weight if row is not None else None)
    if position is None or len(node.inputs) <= position:
        return None
    weight = node.inputs[position]
    if not isinstance(weight, gs.Constant) or weight.dtype != _FLOAT or len(weight.shape) < 2 or 0 in weight.shape:
        return None
    # Each row of a table has its scale, whichever axis is looked up: a row is what is read together.
    axis = 0 if row is None or row.weight is None else weight_axis(node, row, len(weight.shape))
    return _Use(node, position, weight, axis)


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


def _largest_accepted(fractions: Sequence[float], accepts: Callable[[float], bool]) -> float:
    """The first of the descending fractions that is accepted, taking it that all after one that is are too; else 0."""
    first, last = 0, len(fractions)
    while first < last:
        middle = (first + last) // 2
        if accepts(fractions[middle]):
            last = middle
        else:
            first = middle + 1
    return fractions[first] if first < len(fractions) else 0.0


def _decompress(use: _Use, rewriter: Rewriter, names: NodeNames) -> gs.Tensor:
    """The weight as integers -> Cast -> Mul by the scale of each channel."""
    name, shape, values = use.weight.name, list(use.weight.shape), use.weight.values
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=use.axis, narrow=True)
    params = scheme.of_weights(values)
    integers = rewriter.constant(f"{name}_stored", scheme.quantize(values, params))
    scale = rewriter.constant(f"{name}_scale", params.broadcast(len(shape))[0])
    cast = rewriter.variable(f"{name}_cast", _FLOAT, shape)
    result = rewriter.variable(f"{name}_restored", _FLOAT, shape)
    rewriter.insert(gs.Node("Cast", names.fresh(f"{name}_Cast"), {"to": 1}, [integers], [cast]), use.node)
    rewriter.insert(gs.Node("Mul", names.fresh(f"{name}_Mul"), {}, [cast, scale], [result]), use.node)
    return result
