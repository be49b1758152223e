"""Nodes that compute nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass
from pruna_ir.passes.fusion.no_operations import OPERATORS, unchanged, values
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# f(f(x)) = f(x), and f(f(x)) = x.
_IDEMPOTENT = ("Abs", "Ceil", "Floor", "Relu", "Round", "Sign")
_INVOLUTIONS = ("BitwiseNot", "Neg", "Not")


@dataclass(frozen=True)
class RemoveNoop(Rule):
    """Remove nodes whose output is one of their inputs, whatever the numbers are.

        before   x -> Cast(to its own type) -> Mul(1) -> Relu -> Relu -> y
        after    x -> Relu -> y

    Cast to the same type; Mul, Div and Pow by 1, Add and Sub of 0, And true, Or false, Xor false and their like on
    bits; Transpose, Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile, Slice, Gather, Split, Pad, Resize,
    DepthToSpace, SpaceToDepth, Einsum and average pooling that leave every value at its place; reductions over axes of
    size one; Concat with empty tensors; Where that always takes the same side; Sum and Mean of one, Max and Min of the
    same; LeakyRelu and PRelu of slope 1; Clip to the limits of the type; a second Abs, Ceil, Floor, Relu, Round or
    Sign, a Relu behind a Clip that is not negative, and two Not or Neg. A sum with 0 turns -0.0 into 0.0; without it,
    -0.0 stays.

    Does not fire where broadcasting or an unknown shape could matter (dimensions with the same symbolic name are not
    taken to be equal), on a Clip of floats without limits, which turns infinities into numbers, nor where the node
    gives an output of the graph its only name.
    """

    name: ClassVar[str] = "remove-noop"
    roots: ClassVar[tuple[str, ...]] = tuple(sorted({*OPERATORS, *_IDEMPOTENT, *_INVOLUTIONS}))

    def match(self, root: gs.Node) -> Match | None:
        source = unchanged(root) if root.op in OPERATORS else _done_before(root)
        return {"node": root, "source": source} if source is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return cannot_bypass(match["node"].outputs[0], match["source"], rewriter)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        inputs = [tensor for tensor in node.inputs if not isinstance(tensor, gs.Constant)]
        bypass(node, match["source"], rewriter)
        for tensor in inputs:
            rewriter.erase_unread(tensor)


def _done_before(node: gs.Node) -> gs.Tensor | None:
    """What a node gives that repeats or undoes the one before it."""
    if node.op in _INVOLUTIONS:
        first = producer(node.inputs[0], node.op)
        return first.inputs[0] if first is not None else None
    if producer(node.inputs[0], node.op) is not None:
        return node.inputs[0]
    clip = producer(node.inputs[0], "Clip") if node.op == "Relu" else None
    low = values(clip, 1) if clip is not None else None
    return node.inputs[0] if low is not None and bool(np.all(low >= 0)) else None
