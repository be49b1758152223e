"""GridSample as gathered pixels and their weights."""

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

_MODES = {"linear": "linear", "bilinear": "linear", "nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}
# Of the piecewise cubic that ONNX and PyTorch interpolate with (R. Keys, 1981).
_CUBIC = -0.75


@dataclass(frozen=True)
class WriteOutGridSample(Rule):
    """Write a GridSample as pixels that are gathered from the list of all, times their weights.

        before   GridSample<mode="nearest", padding_mode="border">(x, grid)
        after    Gather(Reshape(Transpose(x)), Clip(Round(gy)) * width + Clip(Round(gx)))

    A linear sample is the sum of two such pixels for every axis, a cubic one of four. All modes and paddings, over any
    number of axes.

    Does not fire if a shape is not known.
    """

    name: ClassVar[str] = "write-out-grid-sample"
    roots: ClassVar[tuple[str, ...]] = ("GridSample",)

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        for tensor in match["node"].inputs:
            if static_shape(tensor) is None:
                return Reason("the shape of `{}` is not known", tensor.name)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body = Body(rewriter, node)
        body.finish(_Sampler(body, node).samples())


@dataclass(frozen=True)
class _Tap:
    """One pixel of an axis for each sample: where it is (a whole number), and what it weighs (None: one)."""

    place: gs.Tensor
    weight: gs.Tensor | None


class _Sampler:
    """One GridSample while it is written out."""

    def __init__(self, body: Body, node: gs.Node) -> None:
        self.body, self.node = body, node
        self.batch, self.channels, *self.size = (int(size) for size in node.inputs[0].shape)
        self.results = [int(size) for size in node.inputs[1].shape[1:-1]]
        self.count = self.batch * math.prod(self.results)
        self.mode = _MODES[node.attrs.get("mode", "linear")]
        self.padding = node.attrs.get("padding_mode", "zeros")
        self.aligned = bool(node.attrs.get("align_corners", 0))

    def samples(self) -> gs.Tensor:
        """The result, in ONNX's order of axes."""
        body, axes = self.body, len(self.size)
        grid = body.split(self.node.inputs[1], axes + 1, [1] * axes)
        taps = [self._taps(body.reshape(grid[axes - 1 - axis], [self.count, 1]), axis) for axis in range(axes)]
        rows = body.transpose(self.node.inputs[0], [0, *range(2, axes + 2), 1])
        rows = body.reshape(rows, [self.batch * math.prod(self.size), self.channels])
        terms = [self._pixel(rows, corner) for corner in itertools.product(*taps)]
        total = reduce(lambda left, right: body("Add", left, right), terms)
        shaped = body.reshape(total, [self.batch, *self.results, self.channels])
        return body.transpose(shaped, [0, axes + 1, *range(1, axes + 1)])

    def _pixel(self, rows: gs.Tensor, corner: tuple[_Tap, ...]) -> gs.Tensor:
        """The pixels [samples, channels] at one tap of every axis, weighed."""
        body, place = self.body, corner[0].place
        for axis, tap in enumerate(corner[1:], start=1):
            place = body("Add", body("Mul", place, self._number(self.size[axis])), tap.place)
        if self.batch > 1:
            starts = np.repeat(np.arange(self.batch) * math.prod(self.size), math.prod(self.results))
            place = body("Add", place, body.constant(starts[:, None], place.dtype))
        index = body.cast(body.reshape(place, [self.count]), np.int64)
        pixels = body("Gather", rows, index, axis=0)
        for weight in (tap.weight for tap in corner if tap.weight is not None):
            pixels = body("Mul", pixels, weight)
        return pixels

    def _taps(self, grid: gs.Tensor, axis: int) -> list[_Tap]:
        """The pixels of an axis that a sample is made of; `grid` goes from -1 to 1."""
        body, size = self.body, self.size[axis]
        factor, shift = ((size - 1) / 2, (size - 1) / 2) if self.aligned else (size / 2, (size - 1) / 2)
        place = body("Add", body("Mul", grid, self._number(factor)), self._number(shift))
        if self.mode == "nearest":
            return [self._padded(body("Round", place), None, size)]
        first = body("Floor", place)
        part = body("Sub", place, first)
        if self.mode == "linear":
            weights = [body("Sub", self._number(1), part), part]
            offsets = [0, 1]
        else:
            weights, offsets = [self._cubic(part, offset) for offset in (-1, 0, 1, 2)], [-1, 0, 1, 2]
        places = [body("Add", first, self._number(offset)) if offset else first for offset in offsets]
        return [self._padded(where, weight, size) for where, weight in zip(places, weights, strict=True)]

    def _cubic(self, part: gs.Tensor, offset: int) -> gs.Tensor:
        """The weight of a pixel at a distance of |part - offset|."""
        a, inner = _CUBIC, offset in (0, 1)
        distance = self.body("Abs", self.body("Sub", part, self._number(offset)))
        coefficients = [a + 2, -(a + 3), 0.0, 1.0] if inner else [a, -5 * a, 8 * a, -4 * a]
        total: gs.Tensor = self._number(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.body("Add", self.body("Mul", total, distance), self._number(coefficient))
        return total

    def _padded(self, place: gs.Tensor, weight: gs.Tensor | None, size: int) -> _Tap:
        """A tap whose place is within the axis."""
        body = self.body
        if self.padding == "reflection":
            place = self._reflected(place, size)
        inside = body("Clip", place, self._number(0), self._number(size - 1))
        if self.padding == "zeros":
            there = body.cast(body("Equal", inside, place), place.dtype)
            weight = there if weight is None else body("Mul", weight, there)
        return _Tap(inside, weight)

    def _reflected(self, place: gs.Tensor, size: int) -> gs.Tensor:
        """Places beyond the ends (the outermost pixels, or their outer edges) folded back as often as it takes."""
        body, low = self.body, 0.0 if self.aligned else -0.5
        span = size - 1 - 2 * low
        if span == 0:
            return body("Mul", place, self._number(0))
        moved = body("Sub", place, self._number(low))
        turns = body("Floor", body("Mul", moved, self._number(0.5 / span)))
        rest = body("Sub", moved, body("Mul", turns, self._number(2 * span)))
        away = body("Abs", body("Sub", rest, self._number(span)))
        return body("Round", body("Sub", self._number(low + span), away))

    def _number(self, value: float) -> gs.Constant:
        return self.body.constant(value, self.node.inputs[1].dtype)
