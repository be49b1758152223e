"""What the rules that move conversions of a layout through a graph have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.layouts import Layout
from pruna_ir.passes.fusion.layout.region import grow, near_another
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class Push(Rule):
    """Change the layout of the nodes before or after a conversion where fewer conversions remain.

    `elements` says whether conversions cost what they move: then no more elements may be moved either.
    """

    elements: ClassVar[bool]

    @abstractmethod
    def layouts(self, root: gs.Node) -> tuple[Layout, Layout] | None:
        """How the nodes before a conversion, and those after it, would work without it; None if it is none."""

    def match(self, root: gs.Node) -> Match | None:
        sides = [(start, layout) for start, layout in self._sides(root) if near_another(start, layout)]
        return {"sides": sides} if sides else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reasons = []
        for start, layout in match["sides"]:
            region = match["region"] = grow(start, layout, rewriter)
            reason = region.cannot_change(rewriter, elements=self.elements)
            if reason is None:
                return None
            reasons.append(reason)
        return reasons[0]

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        match["region"].change(rewriter)

    def _sides(self, root: gs.Node) -> Iterator[tuple[gs.Node, Layout]]:
        """The nodes before and after a conversion, and the layouts that they would have."""
        layouts = self.layouts(root)
        if layouts is None:
            return
        writer = producer(root.inputs[0])
        if writer is not None:
            yield writer, layouts[0]
        for reader in {id(reader): reader for reader in root.outputs[0].outputs}.values():
            yield reader, layouts[1]
