"""Conv -> BatchNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable
from pruna_ir.passes.fusion.scaled_conv import absorb, cannot_scale, fold
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# The default of the attribute, by ONNX.
_EPSILON = 1e-5


@dataclass(frozen=True)
class FuseConvBn(Rule):
    """Fold a BatchNormalization in inference mode into the Conv before it.

        before   BatchNormalization(Conv(x, W, b), gamma, beta, mean, var)
        after    Conv(x, W * s, (b - mean) * s + beta)     s = gamma / sqrt(var + epsilon), per output channel

    Does not fire if the Conv's output is an output of the graph or has other users, if a weight or statistic is no
    floating-point constant (quantized weights are not), in training mode, or where the result would overflow the
    weights' type. A shared weight is copied, not changed.
    """

    name: ClassVar[str] = "fuse-conv-bn"
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, root: gs.Node) -> Match | None:
        conv = producer(root.inputs[0], "Conv")
        return {"bn": root, "conv": conv} if conv is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        bn: gs.Node = match["bn"]
        if bn.attrs.get("training_mode", 0) or any(not tensor.is_empty() for tensor in bn.outputs[1:]):
            return Reason("`{}` is in training mode", node_name(bn))
        reason = cannot_scale(match["conv"], rewriter)
        if reason is None:
            reason = not_foldable(bn.inputs[1:])
        if reason is not None:
            return reason
        gamma, beta, mean, variance = (as_float64(tensor) for tensor in bn.inputs[1:])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gamma / np.sqrt(variance + bn.attrs.get("epsilon", _EPSILON))
        return fold(match, scale, beta - mean * scale)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        absorb(match, match["bn"], rewriter)
