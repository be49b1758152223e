"""Mul or Div -> Add or Sub -> Conv with padding, by constants: images that the network normalizes itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import arithmetic
from pruna_ir.passes.fusion.input_scale import grouped, scaled_weight
from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable, rounded
from pruna_ir.passes.fusion.scaled_conv import instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# A scale from 1/_MOST to _MOST moves no value out of the range of float32 that a network keeps to.
_MOST = 2.0**16


@dataclass(frozen=True)
class FuseScaleShiftConv(Rule):
    """Fold the scale of an input that is scaled, then shifted, into the Conv, and leave the shift where it is.

        before   Conv<pads>(Sub(Div(x, s), m), W, b)
        after    Conv<pads>(Sub(x, m * s), W / s, b)

    The zeros that a Conv pads with are not shifted, so that a shift before it stays; where the Conv does not pad,
    `fuse-bn-conv` folds both.

    Does not fire if a tensor between the three is an output of the graph or has other users, if a constant is no
    floating-point number or one per channel, if a scale is zero or extreme, or where the weights' type cannot hold the
    result precisely.
    """

    name: ClassVar[str] = "fuse-scale-shift-conv"
    roots: ClassVar[tuple[str, ...]] = ("Conv",)

    def match(self, root: gs.Node) -> Match | None:
        shift = _with_constant(root.inputs[0], "Add", "Sub")
        scale = None if shift is None else _with_constant(shift[0].inputs[shift[1]], "Mul", "Div")
        if scale is None or (scale[0].op, scale[1]) == ("Div", 1):
            return None
        return {"conv": root, "shift": shift, "scale": scale}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv, (shift, place), (scale, index) = match["conv"], match["shift"], match["scale"]
        reason = rewriter.not_internal(shift.outputs[0])
        if reason is None:
            reason = rewriter.not_internal(scale.outputs[0])
        if reason is None:
            reason = not_foldable([conv.inputs[1]])
        if reason is not None:
            return reason
        weight = grouped(conv, as_float64(conv.inputs[1]))
        channels, rank = weight.shape[0] * weight.shape[2], len(conv.inputs[1].shape)
        scaled, shifted = arithmetic(scale, index, channels, rank), arithmetic(shift, place, channels, rank)
        if isinstance(scaled, Reason):
            return scaled
        if isinstance(shifted, Reason):
            return shifted
        factors = scaled[0]
        if not ((np.abs(factors) >= 1 / _MOST) & (np.abs(factors) <= _MOST)).all():
            return Reason("a scale of `{}` is zero or extreme", scale.inputs[1 - index].name)
        new = scaled_weight(conv, weight, factors)
        term = as_float64(shift.inputs[1 - place]).reshape(-1) / factors
        moved = rounded(term.reshape(-1, *[1] * (rank - 2)), conv.inputs[1].dtype, "shift")
        for values in (new, moved):
            if isinstance(values, Reason):
                return values
        match["weight"], match["term"] = new, moved
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        conv, (shift, place), (scale, index) = match["conv"], match["shift"], match["scale"]
        rewriter.set_input(shift, place, scale.inputs[index])
        rewriter.set_input(shift, 1 - place, instead_of(shift.inputs[1 - place], match["term"], rewriter))
        rewriter.set_input(conv, 1, instead_of(conv.inputs[1], match["weight"], rewriter))
        rewriter.erase(scale)


def _with_constant(tensor: gs.Tensor, *ops: str) -> tuple[gs.Node, int] | None:
    """The node of one of `ops` that computes a tensor from another and a constant, and the place of that other."""
    node = producer(tensor, *ops)
    if node is None:
        return None
    places = [place for place in (0, 1) if not is_parameter(node.inputs[place])]
    return (node, places[0]) if len(places) == 1 else None
