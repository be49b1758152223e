"""What the rules that fold a per-channel scale and shift into a Conv have in common."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, rounded
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason


def channels(conv: gs.Node) -> int:
    """Number of output channels: the weight is [channels, inputs / group, kernel...]."""
    return int(conv.inputs[1].shape[0])


def cannot_scale(conv: gs.Node, rewriter: Rewriter) -> Reason | None:
    """Why the weights of a Conv must not absorb what follows it."""
    reason = rewriter.not_internal(conv.outputs[0])
    return reason if reason is not None else not_foldable(conv.inputs[1:3])


def fold(match: Match, scale: np.ndarray, shift: np.ndarray) -> Reason | None:
    """Put the weight and bias of scale * (Conv(x)) + shift in the match, or say why there are none.

    `scale` and `shift` are float64 of shape [channels]. The sums are done in float64 and rounded once.
    """
    conv: gs.Node = match["conv"]
    weight = as_float64(conv.inputs[1])
    bias = as_float64(conv.inputs[2]) if has_bias(conv) else np.zeros(len(weight))
    dtype = conv.inputs[1].dtype
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
        weight, bias = weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), bias * scale + shift
    for name, values in (("weight", weight), ("bias", bias)):
        stored = rounded(values, dtype, name)
        if isinstance(stored, Reason):
            return stored
        match[name] = stored
    if (scale == 1).all():
        match["weight"] = None  # as it was: stored once even if others share it
    return None


def has_bias(conv: gs.Node) -> bool:
    """Whether the Conv has its optional third input."""
    return len(conv.inputs) > 2 and not conv.inputs[2].is_empty()


def absorb(match: Match, node: gs.Node, rewriter: Rewriter) -> None:
    """Give the Conv the weight and bias of the match, and the output of `node`, which goes."""
    conv: gs.Node = match["conv"]
    weight, bias = match["weight"], match["bias"]
    if weight is not None:
        rewriter.set_input(conv, 1, instead_of(conv.inputs[1], weight, rewriter))
    if has_bias(conv):
        rewriter.set_input(conv, 2, instead_of(conv.inputs[2], bias, rewriter))
    elif bias.any():
        rewriter.set_input(conv, 2, rewriter.constant(f"{conv.inputs[1].name}_bias", bias))
    rewriter.take_over(conv, node.outputs[0])
    rewriter.erase(node)


def instead_of(old: gs.Constant, values: np.ndarray, rewriter: Rewriter) -> gs.Constant:
    """A new constant, since others may read the old one; it takes the old one's name if none does."""
    if len(old.outputs) == 1 and not rewriter.is_output(old):
        return gs.Constant(old.name, np.asarray(values))
    return rewriter.constant(old.name, values)
