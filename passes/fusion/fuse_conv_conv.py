"""Conv -> Conv with nothing between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.convolution import group, kernel, padding, per_axis, set_padding
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, put_rounded, unshared
from pruna_ir.passes.fusion.scaled_conv import channels, has_bias, instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseConvConv(Rule):
    """Multiply the weights of two Convs in a row, one of them 1x1, where that leaves fewer multiplications.

        before   Conv(Conv(x, A[M,I,1,1], a), B[O,M,3,3], b)
        after    Conv(x, W[O,I,3,3], c)     W = sum over m of B[:,m] A[m], c = b + sum over m and space of B[:,m] a[m]

    The 1x1 may come first or last; strides multiply.

    Does not fire if the tensor between is an output of the graph or has other users, if the joint weight would be
    larger than both, if the first has a bias and the second pads (its zeros stand for values without the bias), with
    groups, if a weight is no floating-point constant or has other users, or where the result would overflow its type.
    """

    name: ClassVar[str] = "fuse-conv-conv"
    roots: ClassVar[tuple[str, ...]] = ("Conv",)

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "Conv")
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        reason = rewriter.not_internal(first.outputs[0])
        if reason is None:
            reason = not_foldable([*first.inputs[1:3], *second.inputs[1:3]])
        if reason is None:
            reason = unshared([first.inputs[1], second.inputs[1]])
        if reason is None:
            reason = _geometry(match)
        if reason is not None:
            return reason
        return _weights(match)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        rewriter.set_input(second, 1, instead_of(second.inputs[1], match["weight"], rewriter))
        if match["bias"] is not None:
            bias = rewriter.constant(f"{second.inputs[1].name}_bias", match["bias"])
            rewriter.set_input(second, 2, bias)
        second.attrs.pop("auto_pad", None)
        second.attrs |= {"kernel_shape": list(match["weight"].shape[2:]), "strides": match["strides"]}
        second.attrs["dilations"] = match["dilations"]
        set_padding(second, match["pads"])
        rewriter.set_input(second, 0, first.inputs[0])
        rewriter.erase(first)


def _is_pointwise(conv: gs.Node) -> bool:
    return set(kernel(conv)) <= {1}


def _geometry(match: Match) -> Reason | None:
    """Put strides, dilations and padding of both in one in the match, or say why there is no such Conv."""
    first, second = match["first"], match["second"]
    for conv in (first, second):
        if group(conv) != 1:
            return Reason("`{}` has {} groups", node_name(conv), group(conv))
    rank = len(kernel(first))
    own, after = padding(first), padding(second)
    if isinstance(own, Reason):
        return own
    if isinstance(after, Reason):
        return after
    steps = [per_axis(conv, "strides", rank) for conv in (first, second)]
    match["strides"] = [one * other for one, other in zip(*steps, strict=True)]
    match["padded"] = any(after)
    if _is_pointwise(second) and not any(after):
        match["dilations"], match["pads"] = list(per_axis(first, "dilations", rank)), own
        return None
    if not _is_pointwise(first):
        return Reason("neither Conv is 1x1 without padding")
    if any(own) or set(steps[0]) != {1}:
        return Reason("`{}` pads or strides", node_name(first))
    dilations = per_axis(second, "dilations", rank)
    grown = [
        after[axis] + after[axis + rank] - step * (size - 1)
        for axis, (step, size) in enumerate(zip(dilations, kernel(second), strict=True))
    ]
    if max(grown) > 0:
        return Reason("`{}` pads by more than its kernel", node_name(second))
    match["dilations"], match["pads"] = list(dilations), after
    return None


def _weights(match: Match) -> Reason | None:
    """Put the joint weight and bias in the match, or say why they must not be."""
    first, second = match["first"], match["second"]
    inner, outer = as_float64(first.inputs[1]), as_float64(second.inputs[1])
    sizes = kernel(first) if _is_pointwise(second) else kernel(second)
    shape = (len(outer), inner.shape[1], *sizes)
    if np.prod(shape) > inner.size + outer.size:
        return Reason("the joint weight {} would be larger than {} and {}", list(shape), inner.shape, outer.shape)
    bias = as_float64(first.inputs[2]) if has_bias(first) else np.zeros(channels(first))
    if bias.any() and match["padded"]:
        return Reason("`{}` pads with zeros, which the bias before it does not reach", node_name(second))
    # One of the two kernels has size 1: what is left of space is that of the other.
    flat = np.einsum("omk,mil->oikl", outer.reshape(*outer.shape[:2], -1), inner.reshape(*inner.shape[:2], -1))
    added = np.einsum("omk,m->o", outer.reshape(*outer.shape[:2], -1), bias)
    old = as_float64(second.inputs[2]) if has_bias(second) else np.zeros(len(outer))
    dtype = second.inputs[1].dtype
    results = {"weight": flat.reshape(shape), "bias": old + added if has_bias(first) else None}
    return put_rounded(match, results, dtype)
