"""Space to depth -> Conv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.convolution import group, kernel, padding, per_axis, set_padding
from pruna_ir.passes.fusion.layout.space_to_depth import space_to_depth
from pruna_ir.passes.fusion.layout.strided_blocks import Blocks, common_source, joined_blocks
from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.passes.fusion.scaled_conv import instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseFocus(Rule):
    """Read the image directly instead of moving its blocks into channels: YOLO's Focus layer as one strided Conv.

        before   Conv(Concat(x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), W)
        after    Conv(x, V)     kernel, strides and pads twice as large; V is W with its channels put back in space

    The Slices may come in any order, one node an axis or one for all, with any block size. SpaceToDepth, and the
    Reshape, Transpose and Reshape that do the same, are read as well, with or without a Gather that puts all channels
    in another order. The number of multiplications stays the same.

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
        source = common_source(concat.inputs)
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
        blocks: Blocks | Reason = (moved.steps, moved.starts) if moved is not None else _joined(conv, match["source"])
        pads = padding(conv)
        for part in (blocks, pads):
            if isinstance(part, Reason):
                return part
        match["blocks"], match["pads"] = blocks, pads
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        conv, (steps, starts) = match["conv"], match["blocks"]
        focus, weight = conv.inputs[:2]
        moved, values = match["moved"], weight.values
        if moved is not None and moved.order is not None:
            values = values[:, np.argsort(moved.order)]
        if moved is not None and not moved.blocks_first:
            values = _blocks_first(values, len(starts))
        values = _in_space(values, steps, starts)
        strides = per_axis(conv, "strides", len(steps))
        conv.attrs["kernel_shape"] = list(values.shape[2:])
        conv.attrs["strides"] = [stride * step for stride, step in zip(strides, steps, strict=True)]
        conv.attrs["dilations"] = [1] * len(steps)
        set_padding(conv, tuple(pad * step for pad, step in zip(match["pads"], steps * 2, strict=True)))
        rewriter.set_input(conv, 1, instead_of(weight, values, rewriter))
        rewriter.set_input(conv, 0, match["source"])
        rewriter.erase_unread(focus)


def _joined(conv: gs.Node, source: gs.Tensor) -> Blocks | Reason:
    """The blocks that the Concat before a Conv joins."""
    return joined_blocks(conv.inputs[0].inputs[0], source, len(kernel(conv)))


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
