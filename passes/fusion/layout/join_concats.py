"""Concat -> Concat over the same axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class JoinConcats(Rule):
    """Give the inputs of a Concat to the Concat that reads it.

        before   Concat(a, Concat(b, c), d)
        after    Concat(a, b, c, d)

    Does not fire if the two concatenate along different axes, or if the tensor between them is an output of the graph
    or has other users (the second Concat reading it twice is one too).
    """

    name: ClassVar[str] = "join-concats"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)

    def match(self, root: gs.Node) -> Match | None:
        inner = [node for node in (producer(tensor, "Concat") for tensor in root.inputs) if node is not None]
        return {"outer": root, "inner": inner} if inner else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reasons = [_separate(node, match["outer"], rewriter) for node in match["inner"]]
        fitting = (node for node, reason in zip(match["inner"], reasons, strict=True) if reason is None)
        match["first"] = next(fitting, None)
        return None if match["first"] is not None else reasons[0]

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        outer, inner, output = match["outer"], match["first"], match["outer"].outputs[0]
        inputs: list[gs.Tensor] = []
        for tensor in outer.inputs:
            inputs += inner.inputs if tensor is inner.outputs[0] else [tensor]
        joined = rewriter.insert(
            gs.Node("Concat", name=outer.name, attrs=dict(outer.attrs), inputs=inputs), before=outer
        )
        rewriter.erase(outer)
        rewriter.erase(inner)
        joined.outputs.append(output)
        rewriter.touch(joined)


def _separate(inner: gs.Node, outer: gs.Node, rewriter: Rewriter) -> Reason | None:
    """Why two Concats must not become one."""
    middle = inner.outputs[0]
    first, second = inner.attrs["axis"], outer.attrs["axis"]
    if first != second:
        if middle.shape is None:
            return Reason("the rank of `{}` is not known", middle.name)
        if (first - second) % len(middle.shape):
            return Reason("`{}` is concatenated along axis {}, not {}", middle.name, first, second)
    return rewriter.not_internal(middle)
