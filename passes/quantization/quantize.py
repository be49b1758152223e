"""The quantize pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir import registry
from pruna_ir.analysis.qdq import quantized_already
from pruna_ir.calibration import Statistics, collect, fingerprints
from pruna_ir.calibration.ranges import parse_method, solve
from pruna_ir.calibration.scheme import Range
from pruna_ir.diagnostics import error
from pruna_ir.model.invariants import node_name
from pruna_ir.model.opset import raise_opset
from pruna_ir.passes.quantization.answers import is_answer, last_to_round
from pruna_ir.passes.quantization.behind import function_behind
from pruna_ir.passes.quantization.bias_shifts import corrected
from pruna_ir.passes.quantization.guard import NO_WEIGHTS, Chosen, Guard, Verdict
from pruna_ir.passes.quantization.insert import insert_qdq
from pruna_ir.passes.quantization.masks import drowned, raise_masked
from pruna_ir.passes.quantization.obstacles import unfit_for
from pruna_ir.passes.quantization.plan import Plan, bodies_with_kernels, make_plan
from pruna_ir.passes.quantization.regions import Region, split
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import Reason, Remark, RemarkKind
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.data import Split
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

# How the ranges of a model's answers are chosen, whatever is wanted for the tensors inside.
_WHOLE = "minmax"
_LAST = Reason("it has no weights, and would be the last to round the model's answer")


@dataclass(frozen=True)
class Quantize(Pass):
    """Quantize to 8 bits for a target, where that is faster and accurate enough on the user's data.

    Before:  x -> Conv(w, b) -> Relu -> y
    After:   x -> Q -> DQ -> Conv(DQ(w8), DQ(b32)) -> Relu -> Q -> DQ -> y

    Q/DQ are placed by the target's table so that its runtime fuses every group into an integer kernel. Ranges come
    from one streaming pass over the calibration split; they are those of least error behind the activation function,
    and the whole ones for a model's outputs. Regions (connected kernels of one spatial size) that make the model
    slower, or cost more accuracy than allowed, stay in float; each gives its reason. Sub-graphs of control-flow nodes
    stay in float.
    """

    name: ClassVar[str] = "quantize"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})

    target: str = option("", "table to quantize for; empty: the run's target")
    ranges: str = option("mse", "how ranges are chosen: minmax, percentile, percentile99.9, mse, entropy or auto")
    activations: Literal["target", "int16"] = option(
        "target", "their type: the target's, or int16 where its runtime has kernels for that"
    )
    exclude: tuple[str, ...] = option((), "nodes that stay in float: globs over names, or op:TYPE")
    samples: int = option(512, "calibration samples to use at most", low=1)
    guard: bool = option(True, "measure speed and accuracy, and keep regions in float that lose")
    correct_bias: bool = option(
        False, "where regions lose too much, judge them with biases corrected, and leave these so if that helps"
    )

    def run(self, model: Model, context: Context) -> PassResult:
        """Quantize `model`."""
        parse_method(self.ranges)
        target = self._table(registry.target(self.target) if self.target else context.target)
        result = PassResult()
        result.remarks += [
            self._stays(node, Reason("sub-graphs do")) for node in bodies_with_kernels(model.graph, target)
        ]
        if (found := quantized_already(model.graph)) is not None:
            # What an earlier pass of this run quantized is no surprise; a model that came so is.
            surprise = quantized_already(context.reference.graph) is not None
            text = Reason("{} are there already, and stay", found)
            result.remarks.append(Remark(RemarkKind.MISSED, self.name, "", text, warns=surprise))
        plan = self._without_excluded(model, target, self._plan(model, target, None, result), result)
        if target.answers_in_float:
            last = last_to_round(plan.kernels, {id(tensor) for tensor in model.graph.outputs})
            plan = self._without(model, target, plan, dict.fromkeys((kernel.key for kernel in last), _LAST), result)
        if not plan.kernels:
            return result
        if _needs_opset(target) > model.opset:
            plan = self._raised(model, target, plan, result)
        statistics = self._calibrate(model, plan.calibrated(), context)
        unfit = {
            kernel.key: reason
            for kernel in plan.kernels
            if (reason := unfit_for(kernel, statistics) or drowned(kernel.output, statistics)) is not None
        }
        plan = self._without(model, target, plan, unfit, result)
        ranges = self._ranges(model, plan, target, statistics)
        regions = split(plan)
        context.before_rounding(model)
        verdict = self._choose(model, target, regions, ranges, context, result)
        chosen = frozenset(verdict.chosen)
        kernels = apply(model, target, keys(regions, chosen), ranges)
        if verdict.corrected:
            model.replace_with(_corrected(model, context))
            result.remarks.append(self.remark(RemarkKind.PASSED, "", "accurate enough with corrected biases only"))
        if kernels:
            result.count("integer kernels", len(kernels))
        result.remarks += [self._outcome(regions[index], kernels) for index in sorted(chosen)]
        return result

    def _table(self, target: Target) -> Target:
        """The target's table for the wanted type of activations; P004 if it has none."""
        if self.activations == "target" or target.activations.dtype == np.dtype(self.activations):
            return target
        if not target.wider:
            name = target.runtime or target.name
            raise error("P004", f"the table of `{target.name}` knows no kernels of {name} with {self.activations}")
        return cast("Target", registry.target(target.wider))

    def _raised(self, model: Model, target: Target, plan: Plan, result: PassResult) -> Plan:
        """The same plan for the model at an opset that has the target's integers."""
        before, to, allowed = model.opset, _needs_opset(target), {kernel.key for kernel in plan.kernels}
        raised, evidence = raise_opset(model.to_proto(), to, self.name)
        model.adopt(raised)
        text = "the opset is raised from {} to {}, which has {}, {}"
        values = before, to, target.activations.dtype.name, evidence
        result.remarks.append(self.remark(RemarkKind.PASSED, "", text, *values))
        result.changed = True
        return make_plan(model.graph, target, allowed)

    def _outcome(self, region: Region, kernels: set[str]) -> Remark:
        count = len(kernels.intersection(region.kernels))
        if not count:
            return self.remark(RemarkKind.MISSED, "", "region {} stays in float: {}", region.name, NO_WEIGHTS)
        return self.remark(RemarkKind.PASSED, "", "region {}: {} kernels run in integers", region.name, count)

    def _plan(self, model: Model, target: Target, allowed: Collection[str] | None, result: PassResult) -> Plan:
        plan = make_plan(model.graph, target, allowed)
        for node, reason in plan.refused:
            result.remarks.append(self._stays(node, reason))
        return plan

    def _without_excluded(self, model: Model, target: Target, plan: Plan, result: PassResult) -> Plan:
        check_patterns(model.graph.nodes, self.exclude, self.name)
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        reasons = {kernel.key: Reason("excluded") for kernel in plan.kernels if id(kernel.node) in excluded}
        return self._without(model, target, plan, reasons, result)

    def _without(
        self, model: Model, target: Target, plan: Plan, unwanted: Mapping[str, Reason], result: PassResult
    ) -> Plan:
        """A plan without some kernels, given with their reasons, and without those that only made sense with them."""
        if not unwanted:
            return plan
        result.remarks += [self._stays(k.node, unwanted[k.key]) for k in plan.kernels if k.key in unwanted]
        return self._plan(model, target, {kernel.key for kernel in plan.kernels} - unwanted.keys(), result)

    def _stays(self, node: gs.Node, reason: Reason) -> Remark:
        return self.remark(RemarkKind.MISSED, node_name(node), "stays in float: {}", reason)

    def _calibrate(self, model: Model, names: list[str], context: Context) -> Statistics:
        if context.statistics is not None:
            statistics = context.statistics.for_model(fingerprints(model.to_proto()))
            statistics.require(names)
        else:
            statistics = self._collect(model, names, context)
        context.collected = statistics
        return statistics

    def _collect(self, model: Model, names: list[str], context: Context) -> Statistics:
        known = Statistics({})
        if context.calibrated is not None:
            known = context.calibrated.matching(fingerprints(model.to_proto()))
        missing = [name for name in names if name not in known.records]
        if known.records and not missing:
            return known
        calibration = context.require_data(self.name).require("calibration").head(self.samples)
        fresh = collect(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            missing,
            threads=few_threads(),
            progress=lambda done: context.progress("calibrating", done, calibration.size or 0),
        )
        return fresh.beside(known)

    def _ranges(self, model: Model, plan: Plan, target: Target, statistics: Statistics) -> dict[str, Range]:
        outputs = {id(tensor) for tensor in model.graph.outputs}
        tensors = model.graph.tensors()
        ranges = {}
        for name in plan.calibrated():
            tensor = tensors[name]
            record = raise_masked(tensor, statistics[name])
            method = _WHOLE if is_answer(tensor, outputs) else self.ranges
            ranges[name] = solve(record, target.activations, method, function_behind(tensor, outputs))
        return ranges

    def _choose(
        self,
        model: Model,
        target: Target,
        regions: list[Region],
        ranges: Mapping[str, Range],
        context: Context,
        result: PassResult,
    ) -> Verdict:
        if not self.guard or not regions:
            return Verdict(list(range(len(regions))))

        def build(chosen: Chosen) -> Model:
            candidate = model.clone()
            apply(candidate, target, keys(regions, chosen), ranges)
            return candidate

        def effective(chosen: Chosen) -> frozenset[str]:
            plan = make_plan(model.graph, target, keys(regions, chosen))
            return frozenset(kernel.key for kernel in plan.kernels)

        calibration = context.require_data(self.name).require("calibration")
        if not _scored(context, calibration):
            text = "no labels to score with: what counts as accuracy is agreement with the float model"
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", text))
        feeds = next(iter(calibration.head(1).batches(1))).feeds
        correct = (lambda candidate: _corrected(candidate, context)) if self.correct_bias else None
        guard = Guard(model, target, regions, build, effective, context, feeds, correct)
        verdict = Verdict(**context.decisions.decide(f"{self} regions", lambda: asdict(guard.choose())))
        for region, reason in verdict.reasons.items():
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "region {} stays in float: {}", region, reason))
        return verdict


def _corrected(model: Model, context: Context) -> Model:
    """A quantized model with its biases corrected; the float one is kept in the context."""
    assert context.quantization is not None
    return corrected(model, context.quantization, context)


def _scored(context: Context, calibration: Split) -> bool:
    """Whether the dataset's own metric can score the calibration samples."""
    metric = context.require_data("quantize").metric()
    return metric is not None and (calibration.labelled or not metric.needs_labels)


def _needs_opset(target: Target) -> int:
    """The first opset whose QuantizeLinear writes the target's activations."""
    return 13 if target.activations.dtype.itemsize == 1 else 21


def keys(regions: list[Region], chosen: Chosen) -> set[str]:
    """The kernels of the chosen regions."""
    return {key for index in chosen for key in regions[index].kernels}


def apply(model: Model, target: Target, allowed: Collection[str], ranges: Mapping[str, Range]) -> set[str]:
    """Make these kernels of `model` run in integers; returns those that do: some make no sense without others."""
    plan = make_plan(model.graph, target, allowed)
    kernels = {kernel.key for kernel in plan.kernels}
    insert_qdq(model.graph, plan, target, ranges)
    return kernels
