"""If whose condition is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import bodies_of
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS
from pruna_ir.passes.simplify.shapes.refine import refine_shapes
from pruna_ir.passes.simplify.splice import Splicer, expand_nodes
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rules import producer
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class InlineBranches(Pass):
    """Replace an If whose condition is constant by the nodes of the branch that it takes.

        before   If(true) {a = Relu(x)} else {b = Neg(x)} -> y
        after    x -> Relu -> y

    Branches inside of branches follow. Names that the model uses elsewhere are replaced by new ones. An If behind a Not
    reads what that reads, and has its branches exchanged.

    Does not fire if the condition is computed.
    """

    name: ClassVar[str] = "inline-branches"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        _Inliner(model, result).run(model.graph)
        if result.changed:
            refine_shapes(model)
        return result


class _Inliner:
    """Inlines the branches of a graph, and then those of the graphs inside of it."""

    def __init__(self, model: Model, result: PassResult) -> None:
        self.result = result
        self._splicer = cache(lambda: Splicer(model))

    def run(self, graph: gs.Graph) -> None:
        inlined = expand_nodes(graph, lambda node: self._inlined(graph, node))
        if inlined:
            self.result.count("branches inlined", inlined)
        turned = sum(_turn(node) for node in graph.nodes)
        if turned:
            self.result.count("conditions turned", turned)
        for node in graph.nodes:
            if _is_if(node):
                reason = Reason("`{}` is not a constant", node.inputs[0].name)
                self.result.remarks.append(Remark(RemarkKind.MISSED, InlineBranches.name, node_name(node), reason))
            for body in bodies_of(node):
                self.run(body)

    def _inlined(self, graph: gs.Graph, node: gs.Node) -> list[gs.Node] | None:
        """The nodes of the branch that an If takes; None if that is not known, or if the node is no If."""
        if not _is_if(node) or not isinstance(node.inputs[0], gs.Constant):
            return None
        splicer = self._splicer()
        taken = "then_branch" if bool(node.inputs[0].values.reshape(-1)[0]) else "else_branch"
        branch: gs.Graph = node.attrs.pop(taken)
        return splicer.stand_in(graph, node, splicer.take_out(branch), list(branch.outputs))


def _turn(node: gs.Node) -> bool:
    """Let an If whose condition is a Not read what that reads, its branches exchanged."""
    turned = False
    while _is_if(node) and (condition := producer(node.inputs[0], "Not")) is not None:
        node.inputs[0] = condition.inputs[0]
        branches = node.attrs
        branches["then_branch"], branches["else_branch"] = branches["else_branch"], branches["then_branch"]
        turned = True
    return turned


def _is_if(node: gs.Node) -> bool:
    return node.op == "If" and node.domain in STANDARD_DOMAINS
