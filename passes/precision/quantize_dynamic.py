"""The quantize-dynamic pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.damage import Chosen, too_damaging
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.precision.dynamic_products import DynamicProduct, dynamic_products, unfit, write
from pruna_ir.passes.precision.products import PRODUCTS, Product, alone_in_float, use_of
from pruna_ir.passes.quantization.plan import Plan, make_plan
from pruna_ir.passes.quantization.regions import connected
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import Reason, RemarkKind
from pruna_ir.runtime.latency import compare, thread_clock
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target


# Seconds of timing the model against itself before.
_SECONDS = 0.5


@dataclass(frozen=True)
class QuantizeDynamic(Pass):
    """Run matrix products with constant weights in integers, each input quantized by its own values at run time.

    Before:  MatMul(x, w)
    After:   Mul(Cast(MatMulInteger(q, w8, z)), Mul(s, scales)) with q, s, z = DynamicQuantizeLinear(x)

    For models whose values differ too much from sample to sample for one range, as those of transformers do; no
    calibration is needed. Weights have a scale for each output. Inputs of other operators stay in float. With data,
    the products that lose most stay in float as far as the score needs it, and all of them where the model is no
    faster (the goal `size` takes it as it is). Next to convolutions `quantize` is the better choice: integers flow from
    one to the next, where between products there are normalizations in float.
    """

    name: ClassVar[str] = "quantize-dynamic"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    before: ClassVar[tuple[str, ...]] = ("quantize-weights", "store-weights", "convert-fp16")

    exclude: tuple[str, ...] = option((), "nodes that stay in float: globs over names, or op:TYPE")
    apart: bool = option(False, "leave to `quantize` the products that integers would connect with a convolution")
    smallest: int = option(1024, "products of weights of fewer elements stay: quantizing their input costs more", low=1)
    guard: bool = option(True, "with data: measure speed and accuracy, and keep products in float that lose")

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite the products of `model`."""
        check_patterns(model.graph.nodes, self.exclude, self.name)
        result = PassResult()
        if not context.target.integer_ops:
            text = "{} does not know the operators that quantize what they read"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", text, context.target.name))
            return result
        products = dynamic_products(model.graph, self._uses(model, context.target, result), context.target.weights)
        if products and self.guard and context.data is not None:
            products = self._accurate(model, products, context, result)
        if products:
            context.before_rounding(model)
            write(model.graph, products)
            result.count("products in integers", len(products))
        return result

    def _uses(self, model: Model, target: Target, result: PassResult) -> list[Product]:
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        if self.apart:
            excluded |= _beside_others(make_plan(model.graph, target))
        found: list[Product] = []
        refused: list[tuple[gs.Node, Reason]] = []
        for node in model.graph.nodes:
            use = use_of(node) if id(node) not in excluded else None
            if isinstance(use, Product):
                reason = unfit(use)
                if reason is not None:
                    refused.append((node, reason))
                elif use.weight.values.size >= self.smallest:
                    found.append(use)
            elif isinstance(use, Reason) and node.op in PRODUCTS:
                refused.append((node, use))
        kept, shared = alone_in_float(found, model.graph)
        for node, reason in [*refused, *shared]:
            result.remarks.append(self.remark(RemarkKind.MISSED, node_name(node), "stays in float: {}", reason))
        return [use for use in kept if isinstance(use, Product)]

    def _accurate(
        self, model: Model, products: list[DynamicProduct], context: Context, result: PassResult
    ) -> list[DynamicProduct]:
        """The products that run in integers without losing accuracy; none if the model is no faster with them."""

        def build(chosen: Chosen) -> Model:
            candidate = model.clone()
            write(candidate.graph, [products[index] for index in sorted(chosen)])
            return candidate

        def measure() -> dict[str, Any]:
            evaluator = Evaluator(context.require_data(self.name), context.reference)
            refused = too_damaging(len(products), build, evaluator, context.max_drop, context.progress)
            everything = frozenset(range(len(products)))
            kept = everything.difference(refused)
            return {
                "refused": refused,
                "speedup": self._speedup(model, build(kept), context) if kept else 1.0,
                "lost": self._speedup(build(kept), build(everything), context) if refused and _timed(context) else None,
            }

        verdict = context.decisions.decide(f"{self} products", measure)
        refused, speedup = set(verdict["refused"]), float(verdict["speedup"])
        if refused:
            text = "{} of {} products stay in float: more in integers cost accuracy{}"
            lost = "" if verdict["lost"] is None else f" (the model runs at {verdict['lost']:.2f}x of its speed)"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", text, len(refused), len(products), lost))
        if speedup < 1.0:
            text = "all products stay in float: with them in integers the model runs at {:.2f}x of its speed"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", text, speedup))
            return []
        return [product for index, product in enumerate(products) if index not in refused]

    def _speedup(self, model: Model, candidate: Model, context: Context) -> float:
        """The model's time over the candidate's, in one thread; 1 where that does not matter or cannot be measured."""
        if not _timed(context):
            return 1.0
        feeds = next(iter(context.require_data(self.name).require("calibration").head(1).batches(1))).feeds
        return compare(Session(model), Session(candidate), feeds, seconds=_SECONDS, clock=thread_clock()).speedup


def _timed(context: Context) -> bool:
    """Whether speed matters, and can be measured here."""
    return context.goal != "size" and host_kind() in context.target.runs_on


def _beside_others(plan: Plan) -> set[int]:
    """The ids of the products in groups of connected integer kernels that hold other operators' weights too."""
    found: set[int] = set()
    for kernels in connected(plan):
        weighted = [kernel.node for kernel in kernels if kernel.weight is not None]
        if any(node.op not in PRODUCTS for node in weighted):
            found |= {id(node) for node in weighted}
    return found
