"""Removing what nothing reads, and nodes that only hand a tensor on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import onnx
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import graphs_of, nodes_inside
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS, is_inference_dropout
from pruna_ir.passes.simplify.splice import keep_type, write_instead
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

    Constants go with their last reader, and so do optional outputs that nothing reads (the mask of a Dropout, the last
    state of an LSTM). Sub-graphs are cleaned too, the innermost first, so that what only a dead body read is dead as
    well.

    Does not fire where an Identity gives the graph an output that has no other name: its input is an input of the
    graph, a constant, an output itself, or comes from outside of the sub-graph. Nodes of foreign domains are removed
    like others: ONNX knows no side effects.
    """

    name: ClassVar[str] = "dead-code"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        # Innermost first: `subgraphs` lists an enclosing graph before what it holds.
        for graph in reversed(graphs_of(model.graph)):
            missed = self._bypass(graph, result)
            if graph is model.graph:  # in a body, ONNX wants an Identity to hand on what comes from outside
                result.remarks += missed
            self._sweep(graph, result)
            dropped = sum(_drop_unread(node, graph, model.opset) for node in graph.nodes)
            if dropped:
                result.count("outputs dropped", dropped)
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
                write_instead(source, target)
            else:
                keep_type(source, target)
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
                gone.update(id(inner) for inner in nodes_inside(node))
        if dead:
            remove_nodes(graph, dead.values())
            result.count("nodes removed", len(dead))


def _drop_unread(node: gs.Node, graph: gs.Graph, opset: int) -> int:
    """Remove the optional outputs of a node that nothing reads; how many."""
    if len(node.outputs) == 1 or node.domain not in STANDARD_DOMAINS or node.attrs.get("training_mode", 0):
        return 0
    dropped = 0
    for index in _optional_outputs(node.op, opset):
        if index < len(node.outputs) and not node.outputs[index].is_empty():
            tensor = node.outputs[index]
            if not tensor.outputs and not any(tensor is output for output in graph.outputs):
                node.outputs[index] = gs.Variable.empty()
                dropped += 1
    while dropped and node.outputs[-1].is_empty():
        del node.outputs[-1]
    return dropped


@cache
def _optional_outputs(op: str, opset: int) -> tuple[int, ...]:
    """Which outputs of an operator need not be there; those of Attention belong together."""
    if op == "Attention" or not onnx.defs.has(op, opset):
        return ()
    outputs, optional = onnx.defs.get_schema(op, opset).outputs, onnx.defs.OpSchema.FormalParameterOption.Optional
    return tuple(index for index, output in enumerate(outputs) if output.option == optional)


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
