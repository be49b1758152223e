"""Strided slices of one image -> Concat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.strided_blocks import common_source, joined_blocks
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# What runtimes move without a Cast to something else and back.
_DTYPES = ("float32", "float64", "int8", "uint8")


@dataclass(frozen=True)
class FuseSpaceToDepth(Rule):
    """Move the blocks of an image into channels at once: the slices of YOLO's Focus layer as one SpaceToDepth.

        before   Concat(x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])     x[n,1,h,w]
        after    Gather(SpaceToDepth(x, blocksize 2), [0,2,1,3], axis 1)

    The Slices may come in any order, one node an axis or one for all. SpaceToDepth goes through a block row by row:
    where the Slices do so too, no Gather is needed. Values are moved, not changed.

    Does not fire if the slices are not all of the offsets of a square block, if a sliced size is not known or no
    multiple of the block, if the tensor has not four axes or is neither float32, float64, int8 nor uint8, if channels
    of a number that is not known would change places, or if others read so many Slices that no node is saved.
    """

    name: ClassVar[str] = "fuse-space-to-depth"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)
    makes: ClassVar[tuple[str, int] | None] = ("SpaceToDepth", 13)
    requires: ClassVar[frozenset[str]] = frozenset({"Slice"})

    def match(self, root: gs.Node) -> Match | None:
        source = common_source(root.inputs) if len(root.inputs) > 1 else None
        return {"concat": root, "source": source} if source is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        concat, source = match["concat"], match["source"]
        blocks = _unmovable(source) or joined_blocks(concat, source, rank=2)
        if isinstance(blocks, Reason):
            return blocks
        (height, width), starts = blocks
        if height != width:
            return Reason("blocks of {} x {} are not square", height, width)
        places = [row * width + column for row, column in starts]
        channels = source.shape[1]
        if places == sorted(places):
            match["order"] = None
        elif isinstance(channels, int):
            match["order"] = [place * channels + channel for place in places for channel in range(channels)]
        else:
            return Reason("axis 1 of `{}` is not known as a number", source.name)
        match["size"] = width
        removed, added = len(_only_for(concat, rewriter)), 1 if match["order"] is None else 2
        if removed <= added:
            return Reason("others read the slices of `{}`: {} nodes instead of {}", source.name, added, removed)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        concat, source, size = match["concat"], match["source"], match["size"]
        output, parts = concat.outputs[0], list(concat.inputs)
        last = gs.Node("SpaceToDepth", attrs={"blocksize": size}, inputs=[source])
        rewriter.insert(last, before=concat)
        if match["order"] is not None:
            batch, channels, rows, columns = source.shape
            shape = [batch, channels * size**2, rows // size, columns // size]
            last.outputs.append(rewriter.variable(f"{output.name}_blocks", source.dtype, shape))
            order = rewriter.constant(f"{output.name}_order", np.array(match["order"], np.int64))
            last = gs.Node("Gather", attrs={"axis": 1}, inputs=[last.outputs[0], order])
            rewriter.insert(last, before=concat)
        last.name = concat.name
        rewriter.erase(concat)
        last.outputs.append(output)
        rewriter.touch(last)
        for part in parts:
            rewriter.erase_unread(part)


def _unmovable(source: gs.Tensor) -> Reason | None:
    """Why SpaceToDepth does not take a tensor."""
    if source.shape is not None and len(source.shape) != 4:
        return Reason("`{}` has {} axes, not 4", source.name, len(source.shape))
    if source.dtype is None:
        return Reason("the type of `{}` is not known", source.name)
    # Types that NumPy does not have are ONNX's numbers.
    dtype = str(source.dtype) if isinstance(source.dtype, int) else np.dtype(source.dtype).name
    return Reason("`{}` is {}, of which there is no SpaceToDepth", source.name, dtype) if dtype not in _DTYPES else None


def _only_for(concat: gs.Node, rewriter: Rewriter) -> set[int]:
    """The Concat and the Slices before it that nothing else needs, by identity."""
    ours = {id(concat)}
    waiting = list(concat.inputs)
    while waiting:
        tensor = waiting.pop()
        node = producer(tensor, "Slice")
        if node is None or not rewriter.owns(node) or rewriter.is_output(tensor):
            continue
        if all(id(reader) in ours for reader in tensor.outputs):
            ours.add(id(node))
            waiting.append(node.inputs[0])
    return ours
