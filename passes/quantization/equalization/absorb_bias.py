"""The absorb-bias pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration import collect
from pruna_ir.passes.quantization.equalization.channel_scaling import NOTICEABLE_DB, quality_on_trial
from pruna_ir.passes.quantization.rounding.bias import shift_outputs
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import op_key
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Activation functions that give back what is positive.
_IDENTITIES = ("LeakyRelu", "PRelu", "Relu")
# A tensor is worth it if some channel never falls below this share of its largest value.
_WORTHWHILE = 0.05


@dataclass(frozen=True)
class AbsorbBias(Pass):
    """Move what a channel never falls below from one bias into the next: the range of the tensor between shrinks.

    Before:  Conv(w1, b1) -> Relu -> Conv(w2, b2)
    After:   Conv(w1, b1 - c) -> Relu -> Conv(w2, b2 + w2 c)      with c >= 0 for each channel

    c is the least value of a channel on the calibration samples, where that is positive: there Relu (LeakyRelu, PRelu)
    gives back what it gets, and the outputs stay the same. Scaled channels (equalize) often have such biases. Nagel et
    al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.1.3, with measured
    minima in place of three standard deviations. The guard quantizes on trial, and keeps the change if the outputs
    come closer to the float model's.

    Does not fire if something but Conv and Gemm with constant weights reads the tensor, or a Conv that pads it: its
    zeros would have to be moved, too.
    """

    name: ClassVar[str] = "absorb-bias"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    after: ClassVar[tuple[str, ...]] = ("fuse", "fuse-focus", "equalize")
    before: ClassVar[tuple[str, ...]] = ("round-weights", "quantize", "store-weights")

    samples: int = option(64, "calibration samples to use at most", low=1)
    guard: bool = option(True, "quantize on trial, and keep only what brings the outputs closer to the float model's")

    def run(self, model: Model, context: Context) -> PassResult:
        """Absorb biases of `model`."""
        result = PassResult()
        least = self._least(model, context)
        if not least:
            return result
        candidate = model.clone()
        _absorb(candidate, least)
        if not self.guard or self._better(model, candidate, context, result):
            model.replace_with(candidate)
            result.count("biases absorbed", len(least))
        return result

    def _least(self, model: Model, context: Context) -> dict[str, np.ndarray]:
        """For each tensor that is worth it the positive values that its channels never fall below."""
        names = [str(writer.outputs[0].name) for writer, _ in _sites(model)]
        if not names:
            return {}
        calibration = context.require_data(self.name).require("calibration").head(self.samples)
        statistics = collect(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            names,
            per_channel=dict.fromkeys(names, 1),
            threads=few_threads(),
            progress=lambda done: context.progress("measuring channels", done, calibration.size or 0),
        )
        found = {}
        for name in names:
            channels = statistics[name].channels
            assert channels is not None
            least = np.where(channels.maximum >= channels.minimum, np.maximum(channels.minimum, 0.0), 0.0)
            if np.isfinite(least).all() and (least > _WORTHWHILE * np.abs(channels.maximum)).any():
                found[name] = least
        return found

    def _better(self, model: Model, candidate: Model, context: Context, result: PassResult) -> bool:
        evaluator = Evaluator(context.require_data(self.name), context.reference)
        before, after = (quality_on_trial(one, self.samples, evaluator, context) for one in (model, candidate))
        kept = after > before + NOTICEABLE_DB
        text = "quantized on trial: SQNR {:.1f} dB, {:.1f} dB with biases absorbed"
        kind = RemarkKind.ANALYSIS if kept else RemarkKind.MISSED
        result.remarks.append(self.remark(kind, "", text, before, after))
        return kept


def _absorb(model: Model, least: dict[str, np.ndarray]) -> None:
    rewriter = Rewriter(model.graph)
    for writer, readers in list(_sites(model)):
        amount = least.get(str(writer.outputs[0].name))
        if amount is not None:
            shift_outputs(writer, -amount, rewriter)
            for reader in readers:
                shift_outputs(reader, _response(reader, amount), rewriter)
    rewriter.commit()


def _sites(model: Model) -> Iterator[tuple[gs.Node, list[gs.Node]]]:
    """The nodes whose biases could be absorbed, with those that read what they write behind an activation function."""
    rewriter = Rewriter(model.graph)
    for writer in model.graph.nodes:
        if not _has_bias(writer) or rewriter.is_output(writer.outputs[0]) or len(writer.outputs[0].outputs) != 1:
            continue
        function = writer.outputs[0].outputs[0]
        if op_key(function) not in _IDENTITIES or function.inputs[0] is not writer.outputs[0]:
            continue
        tensor = function.outputs[0]
        alike = all(rewriter.owns(reader) and _reads(reader, tensor) for reader in tensor.outputs)
        if rewriter.owns(function) and tensor.outputs and alike and not rewriter.is_output(tensor):
            yield writer, list(tensor.outputs)


def _has_bias(node: gs.Node) -> bool:
    """Whether a Conv or Gemm has a constant weight of float32 and a bias, or room for one."""
    if op_key(node) not in ("Conv", "Gemm") or not isinstance(node.inputs[1], gs.Constant):
        return False
    if node.inputs[1].dtype != np.float32 or any(node.attrs.get(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return False
    bias = node.inputs[2] if len(node.inputs) > 2 and not node.inputs[2].is_empty() else None
    return bias is None or (isinstance(bias, gs.Constant) and bias.dtype == np.float32)


def _reads(node: gs.Node, tensor: gs.Tensor) -> bool:
    """Whether a node with room in its bias sums over the channels of a tensor, and sees nothing else of it."""
    if not _has_bias(node) or [read is tensor for read in node.inputs[:1]] != [True] or tensor in node.inputs[1:]:
        return False
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return not padded and not node.attrs.get("transA", 0)


def _response(node: gs.Node, amount: np.ndarray) -> np.ndarray:
    """What a Conv or Gemm writes for each channel if it reads `amount` in each channel everywhere."""
    weight = node.inputs[1].values.astype(np.float64)
    if node.op == "Gemm":
        return np.asarray(weight @ amount if node.attrs.get("transB", 0) else amount @ weight)
    groups = int(node.attrs.get("group", 1))
    summed = weight.reshape(*weight.shape[:2], -1).sum(axis=2).reshape(groups, -1, weight.shape[1])
    return np.asarray(summed @ amount.reshape(groups, -1, 1)).reshape(-1)
