"""Pooling with gaps in its windows, place by place."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

_MOST_PLACES = 49


@dataclass(frozen=True)
class WriteOutDilatedPooling(Rule):
    """Write a pooling whose windows have gaps as what is largest, or the mean, of one slice for each place of a window.

        before   MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)
        after    Max(Slice(x, 0, 0), Slice(x, 0, 2), Slice(x, 2, 0), Slice(x, 2, 2))

    Does not fire without gaps; nor if the shape is not known, windows go past the end (`ceil_mode`) or are padded
    automatically, places are asked for, or a window has more than 49 of them.
    """

    name: ClassVar[str] = "write-out-dilated-pooling"
    roots: ClassVar[tuple[str, ...]] = ("MaxPool", "AveragePool")

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root} if any(gap != 1 for gap in root.attrs.get("dilations", [])) else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node = match["node"]
        if any(static_shape(tensor) is None for tensor in (node.inputs[0], node.outputs[0])):
            return Reason("the shape of `{}` is not known", node.inputs[0].name)
        if node.attrs.get("ceil_mode", 0) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return Reason("windows go past the end, or are padded automatically")
        if len(node.outputs) > 1 and not node.outputs[1].is_empty():
            return Reason("the places are asked for")
        places = math.prod(node.attrs["kernel_shape"])
        return Reason("a window has {} places", places) if places > _MOST_PLACES else None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body, rank = Body(rewriter, node), len(node.attrs["kernel_shape"])
        dtype = np.dtype(node.inputs[0].dtype)
        pads = [0, 0, *node.attrs.get("pads", [0] * (2 * rank))]
        pads = [*pads[: rank + 2], 0, 0, *pads[rank + 2 :]]
        empty = _lowest(dtype) if node.op == "MaxPool" else 0
        data = node.inputs[0]
        if any(pads):
            data = body("Pad", data, body.constant(pads, np.int64), body.constant(empty, dtype))
        parts = [_slice(body, node, data, place) for place in _places(node)]
        if node.op == "MaxPool":
            body.finish(parts[0] if len(parts) == 1 else body("Max", *parts))
            return
        total = reduce(lambda left, right: body("Add", left, right), parts)
        body.finish(body("Mul", total, body.constant(1 / _counts(node, pads), dtype)))


def _lowest(dtype: np.dtype) -> float | int:
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _places(node: gs.Node) -> list[tuple[int, ...]]:
    """Where the places of the first window are."""
    gaps, kernel = node.attrs["dilations"], node.attrs["kernel_shape"]
    return [*itertools.product(*([step * gap for step in range(size)] for size, gap in zip(kernel, gaps, strict=True)))]


def _slice(body: Body, node: gs.Node, data: gs.Tensor, place: tuple[int, ...]) -> gs.Tensor:
    """One place of all windows."""
    counts = node.outputs[0].shape[2:]
    strides = node.attrs.get("strides", [1] * len(place))
    ends = [start + (count - 1) * step + 1 for start, count, step in zip(place, counts, strides, strict=True)]
    axes = range(2, len(place) + 2)
    return body("Slice", data, *(body.constant(list(part), np.int64) for part in (place, ends, axes, strides)))


def _counts(node: gs.Node, pads: list[int]) -> np.ndarray:
    """How many places of each window count."""
    kernel = node.attrs["kernel_shape"]
    if node.attrs.get("count_include_pad", 0):
        return np.array(math.prod(kernel))
    rank = len(kernel)
    before, after = pads[2 : rank + 2], pads[rank + 4 :]
    inside = np.pad(np.ones(node.inputs[0].shape[2:]), [*zip(before, after, strict=True)])
    total = np.zeros(node.outputs[0].shape[2:])
    strides = node.attrs.get("strides", [1] * rank)
    for place in _places(node):
        parts = zip(place, total.shape, strides, strict=True)
        total += inside[tuple(slice(start, start + (count - 1) * step + 1, step) for start, count, step in parts)]
    return total
