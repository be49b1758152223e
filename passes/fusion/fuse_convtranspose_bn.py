"""ConvTranspose -> BatchNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import batch_norm
from pruna_ir.passes.fusion.convolution import group
from pruna_ir.passes.fusion.parameters import as_float64, put_rounded
from pruna_ir.passes.fusion.scaled_conv import absorb, cannot_scale, has_bias
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseConvtransposeBn(Rule):
    """Fold a BatchNormalization in inference mode into the ConvTranspose before it.

        before   BatchNormalization(ConvTranspose(x, W, b), gamma, beta, mean, var)
        after    ConvTranspose(x, W * s, (b - mean) * s + beta)
                 s = gamma / sqrt(var + epsilon), per output channel: axis 1 of W, within each group

    Does not fire if the ConvTranspose's output is an output of the graph or has other users, if a weight or statistic
    is no floating-point constant, in training mode, or where the result would overflow the weights' type. A shared
    weight is copied, not changed.
    """

    name: ClassVar[str] = "fuse-convtranspose-bn"
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, root: gs.Node) -> Match | None:
        conv = producer(root.inputs[0], "ConvTranspose")
        return {"bn": root, "conv": conv} if conv is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv: gs.Node = match["conv"]
        reason = cannot_scale(conv, rewriter)
        if reason is not None:
            return reason
        affine = batch_norm(match["bn"])
        if isinstance(affine, Reason):
            return affine
        scale, shift = affine
        weight, dtype = as_float64(conv.inputs[1]), conv.inputs[1].dtype
        bias = as_float64(conv.inputs[2]) if has_bias(conv) else np.zeros(len(scale))
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            fused = {"weight": _scaled(weight, scale, group(conv)), "bias": bias * scale + shift}
        return put_rounded(match, fused, dtype)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        absorb(match, match["bn"], rewriter)


def _scaled(weight: np.ndarray, scale: np.ndarray, groups: int) -> np.ndarray:
    """A weight [inputs, outputs / group, kernel...] times a scale [outputs]."""
    outputs = weight.shape[1]
    grouped = weight.reshape(groups, -1, outputs, int(np.prod(weight.shape[2:])))
    return np.asarray(grouped * scale.reshape(groups, 1, outputs, 1)).reshape(weight.shape)
