"""What rounding moved the means of kernels by, and taking it back: bias correction without anybody to judge it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.accuracy import BATCH, COMPARED_SAMPLES
from pruna_ir.analysis.quantized import float_node, writers_of
from pruna_ir.passes.quantization.biases import Bias, bias_of
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.runtime.capture import capture
from pruna_ir.runtime.stages import Stages
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.analysis.quantized import Quantization
    from pruna_ir.data import Split
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

Feeds = dict[str, np.ndarray]
# Calibration samples to take means over.
SAMPLES = 64


def batches_for_means(calibration: Split, samples: int = SAMPLES) -> list[Feeds]:
    """The samples to take means over: others than those that outputs are compared on, if there are enough."""
    batches = list(calibration.head(COMPARED_SAMPLES + samples).batches(BATCH))
    others = [batch for batch in batches if batch.index >= COMPARED_SAMPLES]
    enough = sum(batch.count for batch in others) >= min(samples, COMPARED_SAMPLES)
    return [batch.feeds for batch in (others if enough else batches) if enough or batch.index < samples]


def find_shifts(
    model: Model, quantization: Quantization, batches: Sequence[Feeds], context: Context
) -> dict[str, np.ndarray]:
    """What to add to the bias of each kernel, by what it writes, each found after those before it were added."""
    kernels = _kernels(model, quantization, context)
    wanted = _wanted(quantization.reference, batches, kernels)
    stages = Stages(model.to_proto(), batches, threads=few_threads())
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
        capture(reference, batches, list(means), receive, threads=few_threads())
    return means


def apply_shifts(model: Model, shifts: Mapping[str, np.ndarray], quantization: Quantization, context: Context) -> None:
    """Add shifts, by what their kernels write, to the biases of a model."""
    rewriter, names = Rewriter(model.graph), NodeNames(model.graph)
    for kernel in _kernels(model, quantization, context):
        if kernel.written in shifts:
            kernel.bias.shift(shifts[kernel.written])
            kernel.bias.write(rewriter, names)
    rewriter.commit()


def corrected(model: Model, quantization: Quantization, context: Context) -> Model:
    """A copy of a model with all its biases corrected."""
    batches = batches_for_means(context.require_data("correct-bias").require("calibration"))
    copy = model.clone()
    apply_shifts(copy, find_shifts(model, quantization, batches, context), quantization, context)
    return copy
