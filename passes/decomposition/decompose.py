"""All operators that a runtime lacks, written out in those that it has."""

from __future__ import annotations

from collections.abc import Collection

import onnx
import onnx_graphsurgeon as gs

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.model.checks import graphs
from pruna_ir.model.conversion import expand
from pruna_ir.passes.recognition.expand import expandable
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Rule, op_key


def decompose(model: Model, written: Collection[str], target: str) -> bool:
    """Write out the operators that are not in `written`, which a back end writes; whether there were any.

    By the rules of this folder, and as ONNX defines them by others, without running the model. Constants and
    shapes within what was written out are left to `simplify`. Operators that nothing is known of stay.
    """
    rules = [rule for rule in _rules() if not set(rule.roots) <= set(written)]
    bodies = {*expandable()} - {*written} - {root for rule in rules for root in rule.roots}
    manager = PassManager(rules)
    changed = manager.run(model, target=target).changed
    if not _expand(model, bodies):
        return changed
    manager.run(model, target=target)  # bodies are written in operators that rules write out
    return True


def why_not(node: gs.Node) -> str:
    """Why no rule writes a node out; empty if there is no rule for its operator."""
    rewriter = Rewriter(gs.Graph(nodes=[node]))
    for rule in _rules():
        match = rule.match(node) if op_key(node) in rule.roots else None
        reason = None if match is None else rule.check(match, rewriter)
        if reason is not None:
            return str(reason)
    return ""


def _rules() -> list[Rule]:
    return [registry.resolve(reference)() for reference in registry.DECOMPOSITION_RULES.values()]


def _expand(model: Model, bodies: set[str]) -> bool:
    """Put the bodies that ONNX gives to operators in their place, and into those again."""
    if bodies.isdisjoint(node.op for node in model.graph.nodes):
        return False
    proto, tried = model.to_proto(), set[str]()
    while waiting := sorted((_operators(proto) & bodies) - tried):
        tried.add(waiting[0])
        try:
            proto = expand(proto, waiting[0])
        except RuntimeError:  # it stays, and the back end says that it cannot be written
            continue
    if tried <= _operators(proto):  # none has a body at this opset
        return False
    model.adopt(proto)
    return True


def _operators(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for graph in graphs(proto.graph) for node in graph.node if not node.domain}
