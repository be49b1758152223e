"""The store-weights pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.damage import Chosen, too_damaging
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
# Bits that a weight is stored in, and those that keep the score where the former damage it.
_BITS, _MORE_BITS = 8, 16


@dataclass(frozen=True)
class StoreWeights(Pass):
    """Store the weights of layers that stay in float as 8-bit integers, at no cost in speed.

    Before:  Conv(x, w)
    After:   Conv(x, Mul(Cast(w8), scale))

    The runtime computes Cast and Mul once, when it loads the model, so the kernels are those of the float model; a
    DequantizeLinear there would stay in the graph and keep the fast kernels away. Each output channel has its scale,
    and so has each row of a table that Gather looks up. Needs a target whose runtime folds constants, and its default
    optimization level. With data, weights that 8 bits would do too much damage to are stored in 16, or stay. Small
    weights and those that are not constant stay as they are.
    """

    name: ClassVar[str] = "store-weights"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    after: ClassVar[tuple[str, ...]] = ("quantize",)

    share: float = option(
        0.99, "share of the float weights' bytes to store in 8 bits, the largest first", low=0.0, high=1.0
    )
    exclude: tuple[str, ...] = option((), "nodes whose weights stay in float: globs over names, or op:TYPE")
    guard: bool = option(True, "with data: store weights in 16 bits where 8 would cost accuracy")

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite the weights of `model`."""
        result = PassResult()
        target = context.target
        check_patterns(model.graph.nodes, self.exclude, self.name)
        if not target.stores_weights:
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "{} does not fold constants at load", target.name))
            return result
        bits = dict.fromkeys(self._weights(model, target), _BITS)
        if bits and self.guard and context.data is not None:
            bits |= context.decisions.decide(f"{self} bits", lambda: self._more_bits(model, list(bits), context))
        for name, needed in bits.items():
            if needed != _BITS:
                kept = f"is stored in {needed} bits" if needed else "stays in float"
                reason = "`{}` {}: less would damage the outputs"
                result.remarks.append(self.remark(RemarkKind.MISSED, "", reason, name, kept))
        self._store(model, target, bits)
        for needed, stored in sorted(Counter(bits.values()).items()):
            if needed:
                result.count(f"weights stored in {needed} bits", stored)
        return result

    def _more_bits(self, model: Model, names: list[str], context: Context) -> dict[str, int]:
        """The weights that 8 bits would do too much damage to: 16, or 0 where these do as well."""
        evaluator = Evaluator(context.require_data(self.name), context.reference)

        def refused(among: list[str], bits: int, otherwise: int) -> list[str]:
            def build(kept: Chosen) -> Model:
                candidate = model.clone()
                tried = {name: bits if index in kept else otherwise for index, name in enumerate(among)}
                self._store(candidate, context.target, {**dict.fromkeys(names, _BITS), **tried})
                return candidate

            numbers = too_damaging(len(among), build, evaluator, context.max_drop, context.progress)
            return [among[index] for index in numbers]

        sensitive = refused(names, _BITS, _MORE_BITS)
        return {**dict.fromkeys(sensitive, _MORE_BITS), **dict.fromkeys(refused(sensitive, _MORE_BITS, 0), 0)}

    def _weights(self, model: Model, target: Target) -> list[str]:
        """The names of the weights to store: the largest, until `share` of all bytes is reached."""
        return _largest([use.weight for use in self._uses(model, target)], self.share)

    def _uses(self, model: Model, target: Target) -> list[_Use]:
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        return _storable(model.graph, target, excluded)

    def _store(self, model: Model, target: Target, bits: Mapping[str, int]) -> None:
        """Store weights in so many bits each; those that have 0, or none, stay as they are."""
        rewriter, names = Rewriter(model.graph), NodeNames(model.graph)
        stored: dict[tuple[int, int], gs.Tensor] = {}
        for use in self._uses(model, target):
            needed = bits.get(use.weight.name, 0)
            if needed:
                key = (id(use.weight), use.axis)
                if key not in stored:
                    stored[key] = _decompress(use, needed, rewriter, names)
                rewriter.set_input(use.node, use.position, stored[key])
        rewriter.commit()


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


def _largest(weights: list[gs.Constant], share: float) -> list[str]:
    """The names of the fewest weights that hold `share` of all their elements.

    A layer's share of the error does not shrink with its size, its share of the bytes does: the many small weights of
    a network cost most of the accuracy and save almost nothing.
    """
    unique = sorted({id(weight): weight for weight in weights}.values(), key=lambda weight: -weight.values.size)
    left = share * sum(weight.values.size for weight in unique)
    chosen = []
    for weight in unique:
        if left <= 0:
            break
        chosen.append(str(weight.name))
        left -= weight.values.size
    return chosen


def _decompress(use: _Use, bits: int, rewriter: Rewriter, names: NodeNames) -> gs.Tensor:
    """The weight as integers -> Cast -> Mul by the scale of each channel."""
    name, shape, values = use.weight.name, list(use.weight.shape), use.weight.values
    scheme = Scheme(np.dtype(f"int{bits}"), symmetric=True, axis=use.axis, narrow=True)
    params = scheme.of_weights(values)
    integers = rewriter.constant(f"{name}_stored", scheme.quantize(values, params))
    scale = rewriter.constant(f"{name}_scale", params.broadcast(len(shape))[0])
    cast = rewriter.variable(f"{name}_cast", _FLOAT, shape)
    result = rewriter.variable(f"{name}_restored", _FLOAT, shape)
    rewriter.insert(gs.Node("Cast", names.fresh(f"{name}_Cast"), {"to": 1}, [integers], [cast]), use.node)
    rewriter.insert(gs.Node("Mul", names.fresh(f"{name}_Mul"), {}, [cast, scale], [result]), use.node)
    return result
