"""Sums of Convs, BatchNormalizations and copies of one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import batch_norm
from pruna_ir.passes.fusion.convolution import group, kernel, padding, per_axis, set_padding
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, rounded
from pruna_ir.passes.fusion.scaled_conv import absorb, cannot_scale, channels, has_bias
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class _Branch:
    """A convolution: weight [outputs, inputs / group, kernel...] and bias [outputs] in float64, and its padding."""

    weight: np.ndarray
    bias: np.ndarray
    pads: tuple[int, ...]


@dataclass(frozen=True)
class MergeParallelBranches(Rule):
    """Merge two branches that read one tensor and are added: RepVGG's training form as one Conv.

        before   Add(Conv(x, W[O,I,3,3], b), Conv(x, V[O,I,1,1], c))     the first pads by 1
        after    Conv(x, W + V in the middle, b + c)

    The second branch may also be a BatchNormalization of x, or x itself: both are Convs with a diagonal weight. What
    is merged first is a branch of the next sum. The method is that of Ding et al., RepVGG (2021), section 3.3.

    Does not fire if a branch is an output of the graph or has other users, if the Convs differ in stride or groups,
    are dilated or do not lie over each other with their padding, if a weight or statistic is no floating-point
    constant, or where the result would overflow the weights' type.
    """

    name: ClassVar[str] = "merge-parallel-branches"
    roots: ClassVar[tuple[str, ...]] = ("Add",)

    def match(self, root: gs.Node) -> Match | None:
        for first, second in (root.inputs, list(reversed(root.inputs))):
            conv, other = producer(first, "Conv"), producer(second, "Conv", "BatchNormalization")
            if conv is None:
                continue
            if second is conv.inputs[0]:
                return {"root": root, "conv": conv, "other": None}
            if other is not None and other is not conv and other.inputs[0] is conv.inputs[0]:
                larger = op_key(other) == "BatchNormalization" or _size(conv) >= _size(other)
                if larger:
                    return {"root": root, "conv": conv, "other": other}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv, other = match["conv"], match["other"]
        reason = cannot_scale(conv, rewriter)
        if reason is None and other is not None:
            reason = rewriter.not_internal(other.outputs[0])
        if reason is not None:
            return reason
        base = _convolution(conv)
        if isinstance(base, Reason):
            return base
        branch = _convolution(other) if other is not None and other.op == "Conv" else _diagonal(conv, other)
        if isinstance(branch, Reason):
            return branch
        if other is not None and other.op == "Conv" and _stride_and_group(other) != _stride_and_group(conv):
            return Reason("the Convs differ in stride or groups")
        return _merge(match, base, branch)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        conv, other = match["conv"], match["other"]
        set_padding(conv, match["pads"])
        absorb(match, match["root"], rewriter)
        if other is not None:
            rewriter.erase(other)


def _size(conv: gs.Node) -> int:
    """Number of weights of one filter; 0 if it is not known."""
    return int(np.prod(conv.inputs[1].shape[1:])) if conv.inputs[1].shape is not None else 0


def _stride_and_group(conv: gs.Node) -> tuple[tuple[int, ...], int]:
    return per_axis(conv, "strides", len(kernel(conv))), group(conv)


def _convolution(conv: gs.Node) -> _Branch | Reason:
    """A Conv as a branch, or why it is none."""
    reason = not_foldable(conv.inputs[1:3])
    if reason is not None:
        return reason
    sizes, pads = kernel(conv), padding(conv)
    if isinstance(pads, Reason):
        return pads
    dilations = per_axis(conv, "dilations", len(sizes))
    if any(step != 1 and size != 1 for step, size in zip(dilations, sizes, strict=True)):
        return Reason("a Conv is dilated")
    bias = as_float64(conv.inputs[2]) if has_bias(conv) else np.zeros(channels(conv))
    return _Branch(as_float64(conv.inputs[1]), bias, pads)


def _diagonal(conv: gs.Node, norm: gs.Node | None) -> _Branch | Reason:
    """A BatchNormalization of what a Conv reads (None: the tensor itself) as a branch beside it."""
    strides, groups = _stride_and_group(conv)
    outputs, inputs = conv.inputs[1].shape[:2]
    if set(strides) != {1} or outputs != inputs * groups:
        return Reason("the Conv changes the size or the number of channels")
    affine = batch_norm(norm) if norm is not None else (np.ones(outputs), np.zeros(outputs))
    if isinstance(affine, Reason):
        return affine
    weight = np.zeros((outputs, inputs, *[1] * len(strides)))
    scale, shift = affine
    weight[np.arange(outputs), np.arange(outputs) % inputs] = scale.reshape(-1, *[1] * len(strides))
    return _Branch(weight, shift, (0,) * 2 * len(strides))


def _merge(match: Match, base: _Branch, branch: _Branch) -> Reason | None:
    """Put weight, bias and padding of the sum in the match, or say why the two are not one Conv."""
    if base.weight.shape[:2] != branch.weight.shape[:2]:
        return Reason("the Convs differ in their channels")
    rank, place = base.weight.ndim - 2, []
    sizes = zip(base.weight.shape[2:], branch.weight.shape[2:], strict=True)
    for axis, (large, small) in enumerate(sizes):
        before, after = (base.pads[side] - branch.pads[side] for side in (axis, axis + rank))
        if min(before, after) < 0 or before + small + after != large:
            return Reason("the kernels do not lie over each other on axis {}", axis + 2)
        place.append(slice(before, before + small))
    weight, dtype = base.weight.copy(), match["conv"].inputs[1].dtype
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
        weight[(slice(None), slice(None), *place)] += branch.weight
        fused = {"weight": weight, "bias": base.bias + branch.bias}
    for name, values in fused.items():
        stored = rounded(values, dtype, name)
        if isinstance(stored, Reason):
            return stored
        match[name] = stored
    match["pads"] = base.pads
    return None
