"""Slice -> Slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# Start, end and step by axis.
_Cuts = dict[int, tuple[int, int, int]]


@dataclass(frozen=True)
class JoinSlices(Rule):
    """Join two Slices in a row into one.

        before   Slice(Slice(x, axis 2, 1:9), axis 3, ::2)
        after    Slice(x, axes [2,3], 1:9, ::2)

    Cuts of different axes stand beside each other; cuts of the same axis are joined where its size is a number.

    Does not fire if starts, ends, axes or steps are computed, if both cut an axis whose size is not known, or one of
    them backwards, or if the tensor between the two is an output of the graph or has other users.
    """

    name: ClassVar[str] = "join-slices"
    roots: ClassVar[tuple[str, ...]] = ("Slice",)

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "Slice")
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        for tensor in [*first.inputs[1:], *second.inputs[1:]]:
            if not isinstance(tensor, gs.Constant) and not tensor.is_empty():
                return Reason("`{}` is not a constant", tensor.name)
        source = first.inputs[0]
        if source.shape is None:
            return Reason("the rank of `{}` is not known", source.name)
        joined = _join(source, _cuts(first, len(source.shape)), _cuts(second, len(source.shape)))
        if isinstance(joined, Reason):
            return joined
        match["cuts"] = joined
        return rewriter.not_internal(first.outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        output, cuts = second.outputs[0], match["cuts"]
        starts, ends, steps = zip(*cuts.values(), strict=True)
        parts = {"starts": starts, "ends": ends, "axes": tuple(cuts), "steps": steps}
        constants = [rewriter.constant(f"{output.name}_{part}", np.array(parts[part], np.int64)) for part in parts]
        joined = gs.Node("Slice", name=second.name, inputs=[first.inputs[0], *constants])
        rewriter.insert(joined, before=second)
        rewriter.erase(second)
        rewriter.erase(first)
        joined.outputs.append(output)
        rewriter.touch(joined)


def _cuts(node: gs.Node, rank: int) -> _Cuts:
    """What a Slice with constant inputs does to each axis that it names."""
    starts, ends, axes, steps = (_numbers(node, index) for index in (1, 2, 3, 4))
    assert starts is not None and ends is not None
    chosen = range(len(starts)) if axes is None else [axis % rank for axis in axes]
    return dict(zip(chosen, zip(starts, ends, steps or [1] * len(starts), strict=True), strict=True))


def _numbers(node: gs.Node, index: int) -> list[int] | None:
    tensor = node.inputs[index] if index < len(node.inputs) else None
    return np.asarray(tensor.values).reshape(-1).tolist() if isinstance(tensor, gs.Constant) else None


def _join(source: gs.Tensor, first: _Cuts, second: _Cuts) -> _Cuts | Reason:
    """The cuts that do what `first` and then `second` do; forwards, Python's ranges clamp as ONNX does."""
    joined = {**first, **second}
    for axis in first.keys() & second.keys():
        size = source.shape[axis]
        if not isinstance(size, int):
            return Reason("both cut axis {} of `{}`, whose size is not known", axis, source.name)
        if first[axis][2] < 0 or second[axis][2] < 0:
            return Reason("both cut axis {} of `{}`, and one of them backwards", axis, source.name)
        left = range(size)[slice(*first[axis])][slice(*second[axis])]
        joined[axis] = (left.start, left.stop, left.step) if left else (0, 0, 1)
    return joined
