"""Blocks of an image moved into channels, as one node or as the three that exporters write."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.permutations import permutation
from pruna_ir.passes.fusion.static_shapes import RESHAPES, static_shape
from pruna_ir.pipeline.rules import producer

# Orders of [batch, channels, rows, row in block, columns, column in block], and whether channels then lie in blocks.
_ORDERS: dict[tuple[int, ...], bool] = {(0, 3, 5, 1, 2, 4): True, (0, 1, 3, 5, 2, 4): False}


@dataclass(frozen=True)
class SpaceToDepth:
    """An image, the size of its blocks, and the tensors that lead to their channels.

    With `blocks_first`, channels of the result are [row, column, channel] of the image, else [channel, row, column];
    if there is an `order`, the result is these channels in that order.
    """

    source: gs.Tensor
    steps: tuple[int, int]
    between: list[gs.Tensor]
    blocks_first: bool
    order: list[int] | None = None

    @property
    def starts(self) -> list[tuple[int, ...]]:
        """Where each block starts, in the order of the channels."""
        return list(itertools.product(*(range(step) for step in self.steps)))


def space_to_depth(tensor: gs.Tensor) -> SpaceToDepth | None:
    """What a tensor is made of if that is blocks moved into channels, which may have changed places."""
    gather = producer(tensor, "Gather")
    if gather is None:
        return _moved(tensor)
    moved = _moved(gather.inputs[0])
    order = _channel_order(gather) if moved is not None else None
    return replace(moved, between=[*moved.between, tensor], order=order) if moved is not None and order else None


def _channel_order(gather: gs.Node) -> list[int] | None:
    """The order into which a Gather puts the channels of an image, if it keeps each of them once."""
    image, indices = gather.inputs
    if gather.attrs.get("axis", 0) not in (1, -3) or not isinstance(indices, gs.Constant) or image.shape is None:
        return None
    channels = image.shape[1]
    if not isinstance(channels, int) or channels < 1 or indices.values.ndim != 1:
        return None
    order = [index % channels for index in indices.values.tolist()]
    return order if sorted(order) == list(range(channels)) else None


def _moved(tensor: gs.Tensor) -> SpaceToDepth | None:
    """What a tensor is made of if that is blocks moved into channels."""
    node = producer(tensor, "SpaceToDepth")
    if node is not None:
        size = int(node.attrs["blocksize"])
        return SpaceToDepth(node.inputs[0], (size, size), [tensor], blocks_first=True)
    last = producer(tensor, *RESHAPES)
    turn = producer(last.inputs[0], "Transpose") if last is not None else None
    first = producer(turn.inputs[0], *RESHAPES) if turn is not None else None
    if last is None or turn is None or first is None:
        return None
    order, source = permutation(turn), first.inputs[0]
    image, apart, joined = (static_shape(one) for one in (source, first.outputs[0], tensor))
    if order is None or tuple(order) not in _ORDERS or image is None or apart is None or len(image) != 4:
        return None
    batch, channels, rows, columns = image
    steps = apart[3], apart[5]
    if apart != (batch, channels, rows // steps[0], steps[0], columns // steps[1], steps[1]):
        return None
    if joined != (batch, channels * steps[0] * steps[1], rows // steps[0], columns // steps[1]):
        return None
    between = [first.outputs[0], turn.outputs[0], tensor]
    return SpaceToDepth(source, steps, between, blocks_first=_ORDERS[tuple(order)])
