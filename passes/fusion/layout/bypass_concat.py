"""Concat -> the Slice that takes one of its inputs out again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass, erase_unread
from pruna_ir.passes.fusion.no_operations import omitted, values
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class BypassConcat(Rule):
    """Read a tensor itself instead of cutting it out of a Concat.

        before   Slice(Concat(a[n,2], b[n,3], axis 1), axis 1, 2:5)
        after    b

    The Concat stays for others who read it.

    Does not fire if starts, ends, axes or steps are computed, if a size along the axis is not known, if what is cut out
    is not exactly one input, or where the Slice gives an output of the graph its only name.
    """

    name: ClassVar[str] = "bypass-concat"
    roots: ClassVar[tuple[str, ...]] = ("Slice",)

    def match(self, root: gs.Node) -> Match | None:
        concat = producer(root.inputs[0], "Concat")
        return {"slice": root, "concat": concat} if concat is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node, concat = match["slice"], match["concat"]
        cut, joined = _cut(node), concat.outputs[0]
        if cut is None:
            return Reason("`{}` does not cut one axis forwards by constants", node.outputs[0].name)
        axis, start, end = cut
        if joined.shape is None or (axis - concat.attrs["axis"]) % len(joined.shape):
            return Reason("axis {} of `{}` is not the one it is concatenated along", axis, joined.name)
        lengths = [None if tensor.shape is None else tensor.shape[axis] for tensor in concat.inputs]
        sizes = [size for size in lengths if isinstance(size, int)]
        if len(sizes) < len(lengths):
            return Reason("the sizes of the parts of `{}` are not all known", joined.name)
        ends = list(itertools.accumulate(sizes))
        taken = range(ends[-1])[start:end]
        parts = [range(stop - size, stop) for stop, size in zip(ends, sizes, strict=True)]
        if not taken or taken not in parts:
            return Reason("{}:{} of `{}` is not one of its parts", start, end, joined.name)
        match["source"] = concat.inputs[parts.index(taken)]
        return cannot_bypass(node.outputs[0], match["source"], rewriter)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        bypass(match["slice"], match["source"], rewriter)
        erase_unread(match["concat"], rewriter)


def _cut(node: gs.Node) -> tuple[int, int, int] | None:
    """The axis, start and end of a Slice with constant inputs that cuts one axis with step 1."""
    starts, ends, axes, steps = (values(node, index) for index in (1, 2, 3, 4))
    if starts is None or ends is None or axes is None or starts.size != 1:
        return None
    if not omitted(node, 4) and (steps is None or int(steps[0]) != 1):
        return None
    return int(axes[0]), int(starts[0]), int(ends[0])
