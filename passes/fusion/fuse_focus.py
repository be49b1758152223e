"""Space to depth -> Conv."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.convolution import group, kernel, padding, per_axis, set_padding
from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.passes.fusion.scaled_conv import instead_of
from pruna_ir.passes.fusion.slicing import slices
from pruna_ir.passes.fusion.space_to_depth import space_to_depth
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, constants, producer
from pruna_ir.remarks import Reason

# Steps of the strided slices along each spatial axis, and where each slice starts.
Blocks = tuple[tuple[int, ...], list[tuple[int, ...]]]


@dataclass(frozen=True)
class FuseFocus(Rule):
    """Read the image directly instead of moving its blocks into channels: YOLO's Focus layer as one strided Conv.

        before   Conv(Concat(x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), W)
        after    Conv(x, V)     kernel, strides and pads twice as large; V is W with its channels put back in space

    The Slices may come in any order, one node an axis or one for all, with any block size. SpaceToDepth, and the
    Reshape, Transpose and Reshape that do the same, are read as well. The number of multiplications stays the same.

    Does not fire if a tensor on the way to the Conv is an output of the graph or has other users, if the slices are not
    all of the offsets of a block, if a sliced size is not known or no multiple of the block, if the Conv has groups or
    dilations, or if its weight is no floating-point constant.
    """

    name: ClassVar[str] = "fuse-focus"
    roots: ClassVar[tuple[str, ...]] = ("Conv",)

    def match(self, root: gs.Node) -> Match | None:
        moved = space_to_depth(root.inputs[0])
        if moved is not None:
            return {"conv": root, "moved": moved, "source": moved.source}
        concat = producer(root.inputs[0], "Concat")
        if concat is None or len(concat.inputs) < 2:
            return None
        source = _common_source(concat.inputs)
        return {"conv": root, "moved": None, "source": source} if source is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv, moved = match["conv"], match["moved"]
        inner = [conv.inputs[0]] if moved is None else moved.between
        reason = next(filter(None, map(rewriter.not_internal, inner)), None) or not_foldable([conv.inputs[1]])
        if reason is not None:
            return reason
        sizes = kernel(conv)
        if group(conv) != 1:
            return Reason("the Conv has {} groups", group(conv))
        dilations = per_axis(conv, "dilations", len(sizes))
        if any(step != 1 and size != 1 for step, size in zip(dilations, sizes, strict=True)):
            return Reason("the Conv is dilated")
        blocks = _concatenated(conv, match["source"]) if moved is None else (moved.steps, moved.starts)
        pads = padding(conv)
        for part in (blocks, pads):
            if isinstance(part, Reason):
                return part
        match["blocks"], match["pads"] = blocks, pads
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        conv, (steps, starts) = match["conv"], match["blocks"]
        focus, weight = conv.inputs[:2]
        moved = match["moved"]
        blocks_first = moved is None or moved.blocks_first
        values = _in_space(weight.values if blocks_first else _blocks_first(weight.values, len(starts)), steps, starts)
        strides = per_axis(conv, "strides", len(steps))
        conv.attrs["kernel_shape"] = list(values.shape[2:])
        conv.attrs["strides"] = [stride * step for stride, step in zip(strides, steps, strict=True)]
        conv.attrs["dilations"] = [1] * len(steps)
        set_padding(conv, tuple(pad * step for pad, step in zip(match["pads"], steps * 2, strict=True)))
        rewriter.set_input(conv, 1, instead_of(weight, values, rewriter))
        rewriter.set_input(conv, 0, match["source"])
        rewriter.erase_unread(focus)


def _common_source(slices: list[gs.Tensor]) -> gs.Tensor | None:
    """The nearest tensor that all tensors are made of by Slices alone, none of them by no Slice at all."""
    chains = [_chain(tensor) for tensor in slices]
    shared = set.intersection(*({id(tensor) for tensor in chain[1:]} for chain in chains))
    return next((tensor for tensor in chains[0] if id(tensor) in shared), None)


def _chain(tensor: gs.Tensor) -> list[gs.Tensor]:
    """A tensor, what it is a Slice of, what that is a Slice of, and so on."""
    chain = [tensor]
    while (node := producer(chain[-1], "Slice")) is not None:
        chain.append(node.inputs[0])
    return chain


def _concatenated(conv: gs.Node, source: gs.Tensor) -> Blocks | Reason:
    """The steps and starts of the slices that a Concat of channels before the Conv puts together."""
    joined, rank = conv.inputs[0], len(kernel(conv))
    concat = joined.inputs[0]
    if concat.attrs["axis"] not in (1, -1 - rank):
        return Reason("`{}` does not join channels", joined.name)
    return _blocks(concat.inputs, source, rank)


def _blocks(slices: list[gs.Tensor], source: gs.Tensor, rank: int) -> Blocks | Reason:
    """The steps and starts of the slices, in order, if they are all that a block has, each once."""
    taken: list[dict[int, range]] = []
    for tensor in slices:
        indices = _taken(tensor, source)
        if isinstance(indices, Reason):
            return indices
        taken.append(indices)
    axes = range(2, 2 + rank)
    every = [tuple(indices.get(axis, range(0, 1)) for axis in axes) for indices in taken]
    steps = tuple(indices.step for indices in every[0])
    starts = [tuple(indices.start for indices in one) for one in every]
    block = set(itertools.product(*(range(step) for step in steps)))
    if not all(set(indices) <= set(axes) for indices in taken):
        return Reason("`{}` is not sliced in space only", source.name)
    if any(tuple(indices.step for indices in one) != steps for one in every) or math.prod(steps) < 2:
        return Reason("the slices of `{}` are not strided alike", source.name)
    if set(starts) != block or len(starts) != len(block):
        return Reason("the slices of `{}` are not all offsets of a block, each once", source.name)
    for axis, step in zip(axes, steps, strict=True):
        if step > 1 and source.shape[axis] % step:
            return Reason("axis {} of `{}` is {}, no multiple of {}", axis, source.name, source.shape[axis], step)
        if step > 1 and any(len(one[axis - 2]) != source.shape[axis] // step for one in every):
            return Reason("a slice of `{}` ends before axis {} does", source.name, axis)
    return steps, starts


def _taken(tensor: gs.Tensor, source: gs.Tensor) -> dict[int, range] | Reason:
    """Which indices of each sliced axis of `source` are in a tensor made of it by Slices."""
    taken: dict[int, range] = {}
    chain = _chain(tensor)
    first = next(place for place, link in enumerate(chain) if link is source)
    for link in reversed(chain[:first]):
        parameters = link.inputs[0].inputs[1:]
        reason = constants(one for one in parameters if not one.is_empty())
        if reason is not None:
            return reason
        if source.shape is None:
            return Reason("the shape of `{}` is not known", source.name)
        for axis, place in slices(link.inputs[0]):
            axis %= len(source.shape)
            if not isinstance(source.shape[axis], int):
                return Reason("axis {} of `{}` is not known as a number", axis, source.name)
            taken[axis] = taken.get(axis, range(source.shape[axis]))[place]
    return taken


def _blocks_first(weight: np.ndarray, blocks: int) -> np.ndarray:
    """A weight [outputs, inputs * blocks, k...] as [outputs, blocks * inputs, k...]."""
    apart = weight.reshape(len(weight), -1, blocks, *weight.shape[2:])
    return np.ascontiguousarray(apart.swapaxes(1, 2)).reshape(weight.shape)


def _in_space(weight: np.ndarray, steps: tuple[int, ...], starts: list[tuple[int, ...]]) -> np.ndarray:
    """A weight [outputs, slices * inputs, k...] over slices as one [outputs, inputs, k * step...] over the image."""
    outputs, channels, *sizes = weight.shape
    inputs = channels // len(starts)
    scaled = (size * step for size, step in zip(sizes, steps, strict=True))
    values = np.empty((outputs, inputs, *scaled), weight.dtype)
    for number, start in enumerate(starts):
        place = tuple(slice(first, None, step) for first, step in zip(start, steps, strict=True))
        values[(slice(None), slice(None), *place)] = weight[:, number * inputs : (number + 1) * inputs]
    return values
