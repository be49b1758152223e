"""The round-weights pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.damage import Chosen, too_damaging
from pruna_ir.analysis.gram import Moments, rounds, second_moments
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.rounding.rounding import Choice, applied, round_weight
from pruna_ir.passes.quantization.rounding.weights import Weight, find_weights
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

_NEAREST = "nearest"


@dataclass(frozen=True)
class RoundWeights(Pass):
    """Round weights to the target's integers so that the outputs of each layer change least, not each weight.

    Before:  Conv(x, w, b)
    After:   Conv(x, scale * q, b + (w - scale * q) E[x])       with whole q, a scale for each output channel

    The weights stay float32 but lie on the grid of integers, on which quantize and store-weights then find them. What
    one weight loses others of its channel make up for, weighted by how the layer's inputs go together on the
    calibration samples: `gptq` (Frantar et al. 2022) column by column and then by coordinate descent, `adaround` (Nagel
    et al. 2020) as a choice between up and down for each weight, by coordinate descent over the same quadratic, forward
    only and without torch. The bias takes back what rounding moves the mean of each channel by. Kept is what comes
    closest to the float model's outputs, without the weights whose rounding costs the score. Weights that others read
    too, and those in sub-graphs, stay as they are.
    """

    name: ClassVar[str] = "round-weights"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    after: ClassVar[tuple[str, ...]] = ("fuse", "fuse-focus")
    before: ClassVar[tuple[str, ...]] = ("quantize", "store-weights")

    method: Literal["gptq", "adaround", "nearest"] = option("gptq", "how integers are chosen")
    bits: int | None = option(None, "bits of the integers, where the target's are more; none: as many", low=2, high=8)
    scale: Literal["max", "mse"] = option("max", "scale that holds the largest weight, or that of least error")
    correct_bias: bool = option(True, "correct the means of the outputs by the bias")
    samples: int = option(64, "calibration samples to use at most", low=1)
    exclude: tuple[str, ...] = option((), "nodes whose weights stay as they are: globs over names, or op:TYPE")
    guard: bool = option(True, "compare with the float model, and keep no more than helps")

    def run(self, model: Model, context: Context) -> PassResult:
        """Round the weights of `model`."""
        result = PassResult()
        check_patterns(model.graph.nodes, self.exclude, self.name)
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        weights, refused = find_weights(model.graph, context.target, excluded)
        for node, reason in refused:
            result.remarks.append(self.remark(RemarkKind.MISSED, node_name(node), "its weight stays: {}", reason))
        pairs = self._round(weights, model, context)
        original = {weight.name: weight.tensor.values for weight in weights}
        pairs = [pair for pair in pairs if any((choice.values != original[choice.name]).any() for choice in pair)]
        if pairs:
            self._settle(model, pairs, context, result)
        return result

    def _round(self, weights: list[Weight], model: Model, context: Context) -> list[tuple[Choice, Choice]]:
        """Each weight rounded to nearest and by the method, as many at a time as memory has room for their inputs."""
        pairs: list[tuple[Choice, Choice]] = []
        by_name = {weight.name: weight for weight in weights}
        for names in rounds({weight.name: weight.layers for weight in weights}):
            group = [by_name[name] for name in names]
            moments = self._moments(model, group, context)
            for weight in group:
                context.progress("rounding weights", len(pairs), len(weights))
                pairs.append(round_weight(weight, moments, self.method, self.bits, self.scale == "mse"))
        return pairs

    def _moments(self, model: Model, weights: list[Weight], context: Context) -> dict[str, Moments]:
        calibration = context.require_data(self.name).require("calibration").head(self.samples)
        return second_moments(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            [layer for weight in weights for layer in weight.layers],
            progress=lambda done: context.progress("measuring inputs of layers", done, calibration.size or 0),
        )

    def _settle(self, model: Model, pairs: list[tuple[Choice, Choice]], context: Context, result: PassResult) -> None:
        """Let `model` become the candidate that is closest to the float model, or without a guard the first."""
        candidates = self._candidates(pairs)
        chosen = candidates[0]
        if self.guard:
            evaluator = Evaluator(context.require_data(self.name), context.reference)
            chosen = self._closest(model, candidates, evaluator, result)
            chosen = self._without_damage(model, chosen, evaluator, context, result)
        if not chosen.choices:
            return
        context.before_rounding(model)
        model.replace_with(chosen.applied_to(model))
        if chosen.name != _NEAREST:
            result.remarks += [self._outcome(choice) for choice in chosen.choices]
        result.count("weights rounded", len(chosen.choices))

    def _closest(
        self, model: Model, candidates: list[_Candidate], evaluator: Evaluator, result: PassResult
    ) -> _Candidate:
        quality = [evaluator.compare(candidate.applied_to(model))[0] for candidate in candidates]
        best = candidates[int(np.argmax(quality))]
        for candidate, sqnr in zip(candidates, quality, strict=True):
            kept = "kept" if candidate is best else "not kept"
            reason = "{}: SQNR {:.1f} dB, {}"
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", reason, candidate.name, sqnr, kept))
        return best

    def _without_damage(
        self, model: Model, candidate: _Candidate, evaluator: Evaluator, context: Context, result: PassResult
    ) -> _Candidate:
        """The candidate without the weights whose rounding costs the model its score: spectra that a logarithm reads
        are such."""

        def build(kept: Chosen) -> Model:
            return candidate.only(kept).applied_to(model)

        count = len(candidate.choices)
        refused = too_damaging(count, build, evaluator, context.max_drop, context.progress)
        for index in refused:
            choice, reason = candidate.choices[index], "`{}` stays as it is: its rounding damages the outputs most"
            result.remarks.append(self.remark(RemarkKind.MISSED, choice.key, reason, choice.name))
        return candidate.only(frozenset(range(count)).difference(refused))

    def _outcome(self, choice: Choice) -> Remark:
        reason = "with `{}` rounded, the outputs change by {:.0%} of what rounding to nearest changes"
        return self.remark(RemarkKind.PASSED, choice.key, reason, choice.name, choice.error)

    def _candidates(self, pairs: list[tuple[Choice, Choice]]) -> list[_Candidate]:
        """What to choose from, the wanted one first."""
        nearest, better = zip(*pairs, strict=True)
        candidates = [_Candidate(self.method, better)]
        if self.correct_bias:
            candidates.insert(0, _Candidate(f"{self.method} with corrected means", better, correct_bias=True))
        if self.method != _NEAREST:
            candidates.append(_Candidate(_NEAREST, nearest))
        return candidates


@dataclass(frozen=True)
class _Candidate:
    """A way to round the weights, under the name that remarks give it."""

    name: str
    choices: tuple[Choice, ...]
    correct_bias: bool = False

    def applied_to(self, model: Model) -> Model:
        return applied(model, self.choices, correct_bias=self.correct_bias)

    def only(self, kept: Chosen) -> _Candidate:
        return replace(self, choices=tuple(self.choices[index] for index in sorted(kept)))
