"""Conv -> Mul, Add, Sub or Div with a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import scale_and_shift
from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable
from pruna_ir.passes.fusion.scaled_conv import absorb, cannot_scale, channels, fold
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseConvAffine(Rule):
    """Fold a product, sum, difference or quotient with a constant into the Conv before it.

        before   Add(Mul(Conv(x, W, b), c), d)       c and d scalars, or one value per channel
        after    Conv(x, W * c, b * c + d)

    `constant - Conv` is folded as well; `constant / Conv` is not affine and is left alone.

    Does not fire if the Conv's output is an output of the graph or has other users, if a weight is no floating-point
    constant, if the constant varies over batch or space or adds dimensions, or where the result would not be finite
    in the weights' type. A shared weight is copied, not changed.
    """

    name: ClassVar[str] = "fuse-conv-affine"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Add", "Sub", "Div")

    def match(self, root: gs.Node) -> Match | None:
        for index, tensor in enumerate(root.inputs):
            conv, operand = producer(tensor, "Conv"), root.inputs[1 - index]
            reversed_quotient = root.op == "Div" and index == 1
            if conv is not None and is_parameter(operand) and not reversed_quotient:
                return {"root": root, "conv": conv, "operand": operand, "index": index}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv, operand = match["conv"], match["operand"]
        reason = cannot_scale(conv, rewriter)
        if reason is None:
            reason = not_foldable([operand])
        if reason is not None:
            return reason
        values = _per_channel(as_float64(operand), channels(conv), len(conv.inputs[1].shape))
        if values is None:
            return Reason("`{}` of shape {} is neither a scalar nor one value per channel", operand.name, operand.shape)
        return fold(match, *scale_and_shift(match["root"].op, values, match["index"]))

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        absorb(match, match["root"], rewriter)


def _per_channel(values: np.ndarray, count: int, rank: int) -> np.ndarray | None:
    """The constant as one value per channel, [count], or None if broadcasting makes it anything else."""
    if values.ndim > rank:
        return None
    shape = (1,) * (rank - values.ndim) + values.shape
    if shape[1] not in (1, count) or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(values.reshape(-1), (count,))
