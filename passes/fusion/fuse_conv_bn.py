"""Conv -> BatchNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import batch_norm
from pruna_ir.passes.fusion.scaled_conv import absorb, cannot_scale, fold
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


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
        affine = batch_norm(match["bn"])
        if isinstance(affine, Reason):
            return affine
        return cannot_scale(match["conv"], rewriter) or fold(match, *affine)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        absorb(match, match["bn"], rewriter)
