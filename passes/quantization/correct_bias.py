"""The correct-bias pass."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pruna_ir.analysis.accuracy import BATCH, COMPARED_SAMPLES, Evaluator
from pruna_ir.analysis.quantized import float_node, writers_of
from pruna_ir.passes.quantization.biases import Bias, bias_of
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.capture import capture
from pruna_ir.runtime.stages import Stages

if TYPE_CHECKING:
    from pruna_ir.analysis.quantized import Quantization
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

Feeds = dict[str, np.ndarray]
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

    samples: int = option(64, "calibration samples to take means over, at most", low=1)
    guard: bool = option(True, "correct less, or nothing, if the outputs get worse")

    def run(self, model: Model, context: Context) -> PassResult:
        """Correct the biases of `model`."""
        result = PassResult()
        if context.quantization is None:
            reason = "the float model is not known: nothing was quantized in this run"
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", reason))
            return result
        shifts = self._shifts(model, context.quantization, context)
        if shifts:
            self._settle(model, shifts, context.quantization, context, result)
        return result

    def _shifts(self, model: Model, quantization: Quantization, context: Context) -> dict[str, np.ndarray]:
        """What to add to the bias of each kernel, by what it writes, each found after those before it were added."""
        batches = self._batches(context)
        kernels = _kernels(model, quantization, context)
        wanted = _wanted(quantization.reference, batches, kernels)
        stages = Stages(model.to_proto(), batches, threads=_threads())
        shifts: dict[str, np.ndarray] = {}
        for done, kernel in enumerate(kernels):
            context.progress("correcting biases", done, len(kernels))
            found = _ChannelMean(kernel.bias.channel_axis)
            for values in stages.run_to(kernel.written):
                found.add(values)
            error = wanted[kernel.wanted].mean - found.mean
            shift = kernel.bias.shift(error) if np.isfinite(error).all() else np.zeros(())
            if shift.any():
                stages.shift(kernel.written, found.along_channels(shift))
                shifts[kernel.written] = shift
        return shifts

    def _batches(self, context: Context) -> list[Feeds]:
        """The samples to take means over: others than those that the guard compares outputs on, if there are enough."""
        split = context.require_data(self.name).require("calibration").head(COMPARED_SAMPLES + self.samples)
        batches = list(split.batches(BATCH))
        others = [batch for batch in batches if batch.index >= COMPARED_SAMPLES]
        enough = sum(batch.count for batch in others) >= min(self.samples, COMPARED_SAMPLES)
        return [batch.feeds for batch in (others if enough else batches) if enough or batch.index < self.samples]

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
            _apply(candidate, dict(list(shifts.items())[:number]), quantization, context)
            reason = "" if judge is None else judge.objection(candidate)
            if not reason:
                model.replace_with(candidate)
                result.count("biases corrected", number)
                break
            reasons.append(reason)
        if reasons:
            kept = f"only the first {number} of {len(shifts)} are kept" if result.changed else "taken back"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "{}: {}", kept, reasons[0]))


@dataclass(frozen=True)
class _Kernel:
    """A kernel whose bias can be corrected: what it writes, and the float model's tensor of the same meaning."""

    bias: Bias
    written: str
    wanted: str


def _kernels(model: Model, quantization: Quantization, context: Context) -> list[_Kernel]:
    in_integers = np.dtype(context.target.bias_dtype).kind == "i"
    writers = writers_of(quantization.reference.graph)
    kernels = []
    for item in quantization.counterparts(model):
        bias, same = bias_of(item.node, in_integers=in_integers), float_node(item, writers)
        if bias is not None and same is not None:
            kernels.append(_Kernel(bias, item.written, str(same.outputs[0].name)))
    return kernels


class _ChannelMean:
    """The mean of each index along an axis, over everything that is added."""

    def __init__(self, axis: int) -> None:
        self._axis, self._rank, self._count = axis, 0, 0
        self._sum = np.zeros(())

    def add(self, values: np.ndarray) -> None:
        self._rank = values.ndim
        channels = np.moveaxis(values, self._axis, -1).reshape(-1, values.shape[self._axis])
        self._sum = self._sum + channels.sum(axis=0, dtype=np.float64)
        self._count += len(channels)

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self._sum / self._count)

    def along_channels(self, values: np.ndarray) -> np.ndarray:
        """One number for each channel, shaped to be added to what was seen."""
        shape = [1] * self._rank
        shape[self._axis] = -1
        return values.reshape(shape)


def _wanted(reference: Model, batches: Iterable[Feeds], kernels: Sequence[_Kernel]) -> dict[str, _ChannelMean]:
    means = {kernel.wanted: _ChannelMean(kernel.bias.channel_axis) for kernel in kernels}

    def receive(_: int, values: dict[str, np.ndarray]) -> None:
        for name, value in values.items():
            means[name].add(value)

    if means:
        capture(reference, batches, list(means), receive, threads=_threads())
    return means


def _apply(model: Model, shifts: Mapping[str, np.ndarray], quantization: Quantization, context: Context) -> None:
    rewriter, names = Rewriter(model.graph), NodeNames(model.graph)
    for kernel in _kernels(model, quantization, context):
        if kernel.written in shifts:
            kernel.bias.shift(shifts[kernel.written])
            kernel.bias.write(rewriter, names)
    rewriter.commit()


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


def _threads() -> int:
    return min(2, os.cpu_count() or 1)
