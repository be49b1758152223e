"""The correct-bias pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.passes.quantization.bias_shifts import SAMPLES, apply_shifts, batches_for_means, find_shifts
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.analysis.quantized import Quantization
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Shares of the kernels, from the inputs on, that the guard tries to correct: errors of late layers are the outputs'.
SHARES = (1.0, 0.75, 0.5, 0.25)
# What corrected biases must win, in dB: less is noise.
NOTICEABLE_DB = 0.25


@dataclass(frozen=True)
class CorrectBias(Pass):
    """Shift the biases of integer kernels so that the mean of every output channel is the float model's.

    Before:  Conv(x, DQ(w8), DQ(b32))
    After:   Conv(x, DQ(w8), DQ(b32 + shift))

    Rounding moves the mean of what a layer computes, and the layers behind it see that as a constant error. The means
    come from calibration samples, before the activation function; kernels are corrected in the graph's order, each on
    what the corrected ones before it give. A kernel without a bias gets one. It is taken back where the outputs come no
    closer to the float model's. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction"
    (2019), section 4.2, empirical form.
    """

    name: ClassVar[str] = "correct-bias"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    after: ClassVar[tuple[str, ...]] = ("quantize",)
    before: ClassVar[tuple[str, ...]] = ("store-weights",)

    samples: int = option(SAMPLES, "calibration samples to take means over, at most", low=1)
    guard: bool = option(True, "correct less, or nothing, if the outputs get worse")

    def run(self, model: Model, context: Context) -> PassResult:
        """Correct the biases of `model`."""
        result = PassResult()
        if context.quantization is None:
            reason = "the float model is not known: nothing was quantized in this run"
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", reason))
            return result
        batches = batches_for_means(context.require_data(self.name).require("calibration"), self.samples)
        shifts = find_shifts(model, context.quantization, batches, context)
        if shifts:
            self._settle(model, shifts, context.quantization, context, result)
        return result

    def _settle(
        self,
        model: Model,
        shifts: Mapping[str, np.ndarray],
        quantization: Quantization,
        context: Context,
        result: PassResult,
    ) -> None:
        """Let `model` become the one with the most biases corrected that is noticeably better than it."""
        judge = _Judge(model, context) if self.guard else None
        reasons = []
        for share in SHARES:
            number = math.ceil(share * len(shifts))
            candidate = model.clone()
            apply_shifts(candidate, dict(list(shifts.items())[:number]), quantization, context)
            reason = "" if judge is None else judge.objection(candidate)
            if not reason:
                model.replace_with(candidate)
                result.count("biases corrected", number)
                break
            reasons.append(reason)
        if reasons:
            kept = f"only the first {number} of {len(shifts)} are kept" if result.changed else "taken back"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "{}: {}", kept, reasons[0]))


class _Judge:
    """Says whether a corrected model is better than the one before: its outputs, and what they are scored."""

    def __init__(self, before: Model, context: Context) -> None:
        self._evaluator = Evaluator(context.require_data("correct-bias"), context.reference)
        self._sqnr = self._evaluator.compare(before)[0]
        self._drop = self._evaluator.drop(before)
        self._allowed = max(self._drop, context.max_drop)

    def objection(self, candidate: Model) -> str:
        """Why the candidate is no better, or nothing."""
        sqnr = self._evaluator.compare(candidate)[0]
        if not sqnr > self._sqnr + NOTICEABLE_DB:
            return f"the outputs have {sqnr:.1f} dB SQNR with it, {self._sqnr:.1f} dB without"
        drop = self._evaluator.drop(candidate)
        if not self._evaluator.acceptable(drop, self._allowed):
            return f"{self._evaluator.metric_name} drops by {drop:.1%} with it, {self._drop:.1%} without"
        return ""
