"""New nodes around what a rule makes, and what is known of the graph that they stand in."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.pipeline.rewriter import Rewriter

Shape = Sequence[int | str | None] | None


class Surroundings:
    """A graph while a driver runs over it: its dimensions, and the nodes that were made for several places."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = weakref.proxy(rewriter)  # lest the table below keep it alive
        self.analysis = ShapeAnalysis(rewriter.graph)
        for node in rewriter.graph.nodes:
            self.analysis.visit(node)
        self._places = {id(node): place for place, node in enumerate(rewriter.graph.nodes)}
        # What was made and where it stands, by what it was made of; those tensors live as long as their identities.
        self._made: dict[Hashable, tuple[int, gs.Tensor, Sequence[gs.Tensor]]] = {}

    def insert(
        self,
        op: str,
        inputs: Sequence[gs.Tensor],
        shape: Shape,
        before: gs.Node,
        attributes: Mapping[str, Any] | None = None,
        dtype: Any = None,
    ) -> gs.Variable:
        """The output of a new node that stands before another; of the first input's type unless one is given."""
        like = f"{before.outputs[0].name}_{op.lower()}"
        output = self._rewriter.variable(like, np.dtype(inputs[0].dtype if dtype is None else dtype), shape)
        node = gs.Node(op, attrs=dict(attributes or {}), inputs=list(inputs), outputs=[output])
        self.analysis.visit(self._rewriter.insert(node, before=before))
        return output

    def constant(self, like: str, values: Any) -> gs.Constant:
        """A new constant; whole numbers are of 64 bits."""
        return self._rewriter.constant(like, np.asarray(values))

    def once(
        self, what: Hashable, of: Sequence[gs.Tensor], before: gs.Node, make: Callable[[], gs.Tensor]
    ) -> gs.Tensor:
        """What was made before, of the same tensors and where it stands before a node; else a new one."""
        key = (what, *(id(tensor) for tensor in of))
        place = self._places.get(id(before))
        if place is None:
            return make()
        stands, known, _ = self._made.get(key, (place + 1, None, of))
        if known is not None and stands <= place:
            return known
        made = make()
        self._made[key] = place, made, of
        return made


_known: weakref.WeakKeyDictionary[Rewriter, Surroundings] = weakref.WeakKeyDictionary()


def surroundings(rewriter: Rewriter) -> Surroundings:
    """What is known of the graph that a rewriter edits, worked out when it is first asked for.

    Rewriting keeps it true: it replaces tensors by others of their shapes, of which nothing is known yet.
    """
    if rewriter not in _known:
        _known[rewriter] = Surroundings(rewriter)
    return _known[rewriter]
