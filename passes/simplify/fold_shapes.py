"""Shape arithmetic with symbolic dimensions."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.model.collection import collection_paused
from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import bodies_of, graphs_of
from pruna_ir.passes.simplify.bulk_rewriter import BulkRewriter
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.refine import refine_shapes
from pruna_ir.passes.simplify.shapes.slices import ShapeSlices
from pruna_ir.passes.simplify.shapes.users import refusal, simplify_user
from pruna_ir.passes.simplify.shapes.values import OPERATORS, Entries, to_values
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter, tensor_names
from pruna_ir.remarks import Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# What makes numbers of shapes; without one of them there is nothing to fold.
_SOURCES = ("Shape", "Size")
# What one round makes constant may tell the next one more; few graphs need a third.
_MOST_ROUNDS = 8


@dataclass(frozen=True)
class FoldShapes(Pass):
    """Simplify computations of shapes whose dimensions are known in part or are symbols only.

        before   x[n,8,h,w] -> Shape -> Gather(0) -> Concat(-1) -> target     Reshape(Relu(x), target) -> y
        after    Reshape(Relu(x), [0,-1]) -> y

    An abstract interpretation gives every dimension, and every element of a small integer tensor, as a polynomial of
    the axes that it comes from. What turns out to be a number becomes a constant. The target of a Reshape copies what
    is a dimension of its data and leaves one to be worked out; an Expand need not name what it keeps; a Slice to a
    dimension goes to the end; a Resize to multiples has scales. What remains is computed once, and read from one Shape
    where dimensions lie side by side.

    Does not fire on shapes with two dimensions that cannot be told, nor on outputs of the graph. Sizes are taken to fit
    into their integer types; where a Reshape copies one dimension and works out another, the inputs of the graph are
    taken not to be empty. Sub-graphs are simplified too; equal names of symbolic dimensions prove nothing.
    """

    name: ClassVar[str] = "fold-shapes"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        graphs = graphs_of(model.graph)
        if not any(node.op in _SOURCES for graph in graphs for node in graph.nodes):
            return result
        with collection_paused():
            for _ in range(_MOST_ROUNDS):
                done = PassResult()
                _Folder(model.graph, ShapeAnalysis(model.graph), tensor_names(model.graph), model.opset, done).run()
                result.remarks = done.remarks  # the last round knows most
                if not done.changed:
                    break
                refine_shapes(model)
                for what, times in done.counts.items():
                    result.count(what, times)
        return result


@dataclass
class _Folder:
    """Simplifies one graph, and the graphs inside of it."""

    graph: gs.Graph
    analysis: ShapeAnalysis
    names: set[str]
    opset: int
    result: PassResult
    # The first tensor with the same elements, in this graph and in those around it.
    first: ChainMap[Hashable, gs.Tensor] = field(default_factory=ChainMap)

    def run(self) -> None:
        rewriter = BulkRewriter(self.graph, self.names)
        for node in list(self.graph.nodes):
            self.analysis.visit(node)
            for body in bodies_of(node):
                _Folder(body, self.analysis, self.names, self.opset, self.result, self.first.new_child()).run()
            if node.domain not in STANDARD_DOMAINS:
                continue
            if node.op in OPERATORS or node.op in _SOURCES:
                self._fold(node, rewriter)
            if not rewriter.is_erased(node) and simplify_user(node, self.analysis, rewriter):
                self.result.count("shapes made constant")
            reason = None if rewriter.is_erased(node) else refusal(node, self.analysis)
            if reason is not None:
                self.result.remarks.append(Remark(RemarkKind.MISSED, FoldShapes.name, node_name(node), reason))
        rewriter.commit()
        slices = ShapeSlices(self.graph, self.analysis, self.names, self.opset).run()
        if slices:
            self.result.count("shapes read in one piece", slices)

    def _fold(self, node: gs.Node, rewriter: Rewriter) -> None:
        """Replace what a node computes by a constant, or by what computes the same already."""
        tensor = node.outputs[0]
        if not tensor.outputs or rewriter.is_output(tensor) or not self.analysis.is_computed(tensor):
            return
        entries = self.analysis.elements(tensor)
        assert entries is not None
        values = to_values(entries, tensor.dtype)
        if values is not None:
            rewriter.redirect(tensor, gs.Constant(tensor.name, values))
            self.result.count("sizes folded")
        else:
            twin = self.first.setdefault(_key(tensor, entries), tensor)
            if twin is tensor:
                return
            if not twin.inputs:  # erased since
                self.first[_key(tensor, entries)] = tensor
                return
            rewriter.redirect(tensor, twin)
            self.result.count("sizes computed once")
        rewriter.erase_unread(tensor)


def _key(tensor: gs.Tensor, entries: Entries) -> Hashable:
    return str(tensor.dtype), entries.shape, tuple(entries.flat)
