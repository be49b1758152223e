"""Removing what nothing reads, and nodes that only hand a tensor on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS, is_inference_dropout
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import redirect, remove_nodes
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes whose outputs nothing reads, Identity, and Dropout in inference mode.

        before   x -> Relu -> a -> Identity -> b -> Exp -> y     x -> Log -> unused
        after    x -> Relu -> a -> Exp -> y

    Constants go with their last reader. Sub-graphs are cleaned too, the innermost first, so that what only a dead
    body read is dead as well.

    Does not fire where an Identity gives the graph an output that has no other name: its input is an input of the
    graph, a constant, an output itself, or comes from outside of the sub-graph. Nodes of foreign domains are removed
    like others: ONNX knows no side effects.
    """

    name: ClassVar[str] = "dead-code"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        # Innermost first: `subgraphs` lists an enclosing graph before what it holds.
        for graph in reversed([model.graph, *model.graph.subgraphs(recursive=True)]):
            missed = self._bypass(graph, result)
            if graph is model.graph:  # in a body, ONNX wants an Identity to hand on what comes from outside
                result.remarks += missed
            self._sweep(graph, result)
        return result

    def _bypass(self, graph: gs.Graph, result: PassResult) -> list[Remark]:
        """Let the readers of a node that only hands on its input read that input; remarks on those that must stay."""
        outputs = {id(tensor) for tensor in graph.outputs}
        own = {id(node) for node in graph.nodes}
        bypassed, missed = [], []
        for node in graph.nodes:
            if not _hands_on(node, outputs):
                continue
            source, target = node.inputs[0], node.outputs[0]
            reason = _needed(source, target, outputs, own)
            if reason is not None:
                missed.append(Remark(RemarkKind.MISSED, self.name, node_name(node), reason))
                continue
            if id(target) in outputs:
                _write_instead(source, target)
            else:
                _keep_type(source, target)
                redirect(target, source)
            bypassed.append(node)
            result.count(f"{node.op} bypassed")
        remove_nodes(graph, bypassed)
        return missed

    @staticmethod
    def _sweep(graph: gs.Graph, result: PassResult) -> None:
        """Remove the nodes that no output depends on: one walk against the topological order finds them all."""
        outputs = {id(tensor) for tensor in graph.outputs}
        dead: dict[int, gs.Node] = {}
        gone: set[int] = set()
        for node in reversed(graph.nodes):
            used = any(
                id(tensor) in outputs or any(id(reader) not in gone for reader in tensor.outputs)
                for tensor in node.outputs
                if not tensor.is_empty()
            )
            if not used:
                dead[id(node)] = node
                gone.add(id(node))
                gone.update(id(inner) for body in node.subgraphs(recursive=True) for inner in body.nodes)
        if dead:
            remove_nodes(graph, dead.values())
            result.count("nodes removed", len(dead))


def _hands_on(node: gs.Node, outputs: set[int]) -> bool:
    """Whether the node's first output is its first input, and nothing else of it is used."""
    if node.op == "Identity" and node.domain in STANDARD_DOMAINS:
        return len(node.inputs) == 1
    return is_inference_dropout(node) and not any(mask.outputs or id(mask) in outputs for mask in node.outputs[1:])


def _needed(source: gs.Tensor, target: gs.Tensor, outputs: set[int], own: set[int]) -> Reason | None:
    """Why a node that hands `source` on as `target` must stay."""
    if id(target) not in outputs:
        return None
    if id(source) in outputs:
        return Reason("`{}` and `{}` are both outputs of the graph", source.name, target.name)
    if isinstance(source, gs.Constant):
        return Reason("the output `{}` is the constant `{}`", target.name, source.name)
    if not source.inputs:
        return Reason("the output `{}` is the input `{}`", target.name, source.name)
    if id(source.inputs[0]) not in own:
        return Reason("the output `{}` is `{}`, which the outer graph computes", target.name, source.name)
    return None


def _write_instead(source: gs.Tensor, target: gs.Tensor) -> None:
    """Let the node that writes `source` write `target`, a graph output, whose name must stay."""
    target.inputs.clear()
    writer = source.inputs[0]
    index = next(index for index, tensor in enumerate(writer.outputs) if tensor is source)
    writer.outputs[index] = target
    redirect(source, target)


def _keep_type(source: gs.Tensor, target: gs.Tensor) -> None:
    """Keep what only the removed tensor's type said."""
    if isinstance(source, gs.Variable):
        source.dtype = source.dtype if source.dtype is not None else target.dtype
        source.shape = source.shape if source.shape is not None else target.shape
