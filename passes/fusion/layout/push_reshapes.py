"""Reshapes of leading axes around nodes that do not look at those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.layouts import Layout, Regrouped
from pruna_ir.passes.fusion.layout.region import grow, near_another
from pruna_ir.passes.fusion.static_shapes import RESHAPES, static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class PushReshapes(Rule):
    """Let nodes between Reshapes work on the other leading axes where fewer Reshapes remain.

        before   Reshape(Softmax(Reshape(x, [4420,2]), axis 1), [1,4420,2])
        after    Softmax(x, axis 2)

    Connected nodes change their leading axes together: elementwise operators, and those that work on the trailing axes
    (Softmax, normalizations, reductions, products of matrices, Transposes of these axes, ...). A Gemm becomes a MatMul
    and an Add where its input is no matrix any more. Where another node reads or writes one of their tensors, a Reshape
    is put.

    Does not fire if as many nodes would come as go, if a size is not known, if more than 256 nodes are connected, or if
    a large constant that others read would be stored twice.
    """

    name: ClassVar[str] = "push-reshapes"
    roots: ClassVar[tuple[str, ...]] = (*RESHAPES, "Transpose")

    def match(self, root: gs.Node) -> Match | None:
        sides = [(start, layout) for start, layout in _sides(root) if near_another(start, layout)]
        return {"sides": sides} if sides else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reasons = []
        for start, layout in match["sides"]:
            region = match["region"] = grow(start, layout, rewriter)
            reason = region.cannot_change(rewriter, elements=False)
            if reason is None:
                return None
            reasons.append(reason)
        return reasons[0]

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        match["region"].change(rewriter)


def _sides(root: gs.Node) -> Iterator[tuple[gs.Node, Layout]]:
    """The nodes before and after a Reshape, and what their leading axes would be without it."""
    before, after = static_shape(root.inputs[0]), static_shape(root.outputs[0])
    if before is None or after is None or before == after:
        return
    writer = producer(root.inputs[0])
    layout = Regrouped.between(before, after)
    if not layout.leaves(root):
        return
    if writer is not None:
        yield writer, layout
    for reader in {id(reader): reader for reader in root.outputs[0].outputs}.values():
        yield reader, Regrouped.between(after, before)
