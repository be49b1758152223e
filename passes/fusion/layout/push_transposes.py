"""Transposes around nodes that could work on the other layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.layouts import Layout, Permuted
from pruna_ir.passes.fusion.layout.permutations import inverse, is_identity, permutation
from pruna_ir.passes.fusion.layout.region import grow, near_another
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class PushTransposes(Rule):
    """Let nodes between Transposes work on the other layout where fewer Transposes remain.

        before   Transpose(Softmax(Concat(Transpose(x, p), Transpose(v, p), axis 3), axis 3), q)     q undoes p
        after    Softmax(Concat(x, v, axis 1), axis 1)

    Connected nodes change their layout together: elementwise operators, and those whose axes can be renamed (Concat,
    Split, Softmax, reductions, Slice, Pad, Resize, Gather, products of matrices whose last axes stay, ...). Constants
    that are broadcast are transposed with them. Where another node reads or writes one of their tensors, a Transpose
    is put; a reduction that removes axes may end the region without one.

    Does not fire if as many Transposes would come as go, or if they would move more elements, if more than 256 nodes
    are connected, or if a large constant that others read would be stored twice.
    """

    name: ClassVar[str] = "push-transposes"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)

    def match(self, root: gs.Node) -> Match | None:
        sides = [(start, layout) for start, layout in _sides(root) if near_another(start, layout)]
        return {"sides": sides} if sides else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reasons = []
        for start, layout in match["sides"]:
            region = match["region"] = grow(start, layout, rewriter)
            reason = region.cannot_change(rewriter, elements=True)
            if reason is None:
                return None
            reasons.append(reason)
        return reasons[0]

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        match["region"].change(rewriter)


def _sides(root: gs.Node) -> Iterator[tuple[gs.Node, Layout]]:
    """The nodes before and after a Transpose, and what their layout would be without it."""
    order = permutation(root)
    if order is None or is_identity(order):
        return
    writer = producer(root.inputs[0])
    if writer is not None:
        yield writer, Permuted(tuple(order))
    for reader in {id(reader): reader for reader in root.outputs[0].outputs}.values():
        yield reader, Permuted(tuple(inverse(order)))
