"""Pad -> Conv or AveragePool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.convolution import padding, set_padding
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, constants, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FusePadConv(Rule):
    """Let a Conv or an AveragePool add the zeros itself that a Pad adds before it.

        before   Conv(Pad(x, p), W)     the Conv pads by q
        after    Conv(x, W)             it pads by p + q

    An AveragePool counts the zeros as values: `count_include_pad` must be 1, or becomes 1 where it pads nothing itself.

    Does not fire if the padded tensor is an output of the graph or has other users, if the Pad does not add zeros or
    not a known number, removes values or pads batch or channels, if the padding of the Conv depends on a size that
    is not known, or if an AveragePool rounds its size up or would pad by its whole window.
    """

    name: ClassVar[str] = "fuse-pad-conv"
    roots: ClassVar[tuple[str, ...]] = ("Conv", "AveragePool")

    def match(self, root: gs.Node) -> Match | None:
        pad = producer(root.inputs[0], "Pad")
        return {"root": root, "pad": pad} if pad is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        root, pad = match["root"], match["pad"]
        reason = rewriter.not_internal(pad.outputs[0])
        if reason is None:
            reason = _not_zeros(pad)
        if reason is not None:
            return reason
        own = padding(root) if root.op == "Conv" else _pool_padding(root)
        if isinstance(own, Reason):
            return own
        zeros = _zeros(pad, len(own) // 2)
        if isinstance(zeros, Reason):
            return zeros
        match["pads"] = tuple(first + second for first, second in zip(own, zeros, strict=True))
        if root.op == "AveragePool":
            # ONNX Runtime refuses a pool whose window could lie in the padding alone.
            windows = root.attrs["kernel_shape"] * 2
            if any(count >= size for count, size in zip(match["pads"], windows, strict=True)):
                return Reason("`{}` would pad by its whole window", node_name(root))
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        root, pad = match["root"], match["pad"]
        set_padding(root, match["pads"])
        if root.op == "AveragePool":
            root.attrs["count_include_pad"] = 1
        rewriter.set_input(root, 0, pad.inputs[0])
        rewriter.erase(pad)


def _not_zeros(pad: gs.Node) -> Reason | None:
    """Why a Pad does not add zeros, in a number that is known."""
    mode = pad.attrs.get("mode", "constant")
    if mode != "constant":
        return Reason("`{}` is in mode `{}`", node_name(pad), mode)
    reason = constants(tensor for tensor in pad.inputs[1:] if not tensor.is_empty())
    if reason is not None:
        return reason
    if len(pad.inputs) > 2 and not pad.inputs[2].is_empty() and pad.inputs[2].values.any():
        return Reason("`{}` adds other values than zeros", node_name(pad))
    return None


def _zeros(pad: gs.Node, rank: int) -> tuple[int, ...] | Reason:
    """Zeros that a Pad adds before each of `rank` spatial axes, then those after each."""
    total = rank + 2
    counts = pad.inputs[1].values.tolist()
    named = len(pad.inputs) > 3 and not pad.inputs[3].is_empty()
    axes = [axis % total for axis in pad.inputs[3].values.tolist()] if named else list(range(total))
    before, after = [0] * total, [0] * total
    for place, axis in enumerate(axes):
        before[axis], after[axis] = counts[place], counts[place + len(axes)]
    if any(before[:2] + after[:2]):
        return Reason("`{}` pads batch or channels", node_name(pad))
    if min(before + after) < 0:
        return Reason("`{}` removes values", node_name(pad))
    return (*before[2:], *after[2:])


def _pool_padding(pool: gs.Node) -> tuple[int, ...] | Reason:
    """What an AveragePool pads by, if it divides by the size of the window everywhere."""
    if pool.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Reason("the padding of `{}` is {}", node_name(pool), pool.attrs["auto_pad"])
    if pool.attrs.get("ceil_mode", 0):
        return Reason("`{}` rounds its size up", node_name(pool))
    rank = len(pool.attrs["kernel_shape"])
    pads = tuple(pool.attrs.get("pads", ())) or (0,) * 2 * rank
    if any(pads) and not pool.attrs.get("count_include_pad", 0):
        return Reason("`{}` does not count the zeros that it adds", node_name(pool))
    return pads
