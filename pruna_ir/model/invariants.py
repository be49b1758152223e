"""The promises that every pass keeps about the graph that it leaves behind."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import error
from pruna_ir.model.scoping import bodies_of, graphs_of


def violations(graph: gs.Graph, untyped: frozenset[str] = frozenset()) -> list[str]:
    """What is wrong with a graph and its sub-graphs, a sentence each; empty for a sound one.

    `untyped` names the tensors for which ONNX knows no type (outputs of foreign operators, say): they may stay so.
    """
    found = [f"the input `{tensor.name}` has no type" for tensor in graph.inputs if tensor.dtype is None]
    return found + _violations(graph, frozenset(), untyped)


def _violations(graph: gs.Graph, outer: frozenset[str], untyped: frozenset[str]) -> list[str]:
    found: list[str] = []
    known = {tensor.name for tensor in graph.inputs}
    written: set[str] = set(known)
    later = {tensor.name for node in graph.nodes for tensor in node.outputs}
    for node in graph.nodes:
        label = f"`{node_name(node)}` ({node.op})"
        for tensor in node.inputs:
            if tensor.is_empty() or isinstance(tensor, gs.Constant) or tensor.name in known or tensor.name in outer:
                continue
            if tensor.name in later:
                found.append(f"{label} stands before the node that writes `{tensor.name}`")
            else:
                found.append(f"{label} reads `{tensor.name}`, which nothing writes")
        for tensor in node.outputs:
            if tensor.is_empty():
                continue
            if isinstance(tensor, gs.Constant):
                found.append(f"{label} writes the constant `{tensor.name}`")
            if tensor.name in written:
                found.append(f"`{tensor.name}` is written twice")
            if (tensor.dtype is None or tensor.shape is None) and tensor.name not in untyped:
                found.append(
                    f"`{tensor.name}`, written by {label}, has no {'type' if tensor.dtype is None else 'shape'}"
                )
            written.add(tensor.name)
            known.add(tensor.name)
        for body in bodies_of(node):
            found += _violations(body, outer | known, untyped)
    for tensor in graph.outputs:
        if tensor.name not in known and tensor.name not in outer and not isinstance(tensor, gs.Constant):
            found.append(f"nothing writes the output `{tensor.name}`")
    return found + _clashes(graph)


def _clashes(graph: gs.Graph) -> list[str]:
    owners: dict[str, gs.Tensor] = {}
    found = []
    inner = (tensor for node in graph.nodes for tensor in [*node.inputs, *node.outputs])
    for tensor in [*graph.inputs, *graph.outputs, *inner]:
        if not tensor.is_empty() and owners.setdefault(tensor.name, tensor) is not tensor:
            found.append(f"two tensors are named `{tensor.name}`")
    return found


def untyped_tensors(graph: gs.Graph) -> frozenset[str]:
    """Names of the tensors that have no type or no shape now."""
    scopes = graphs_of(graph)
    outputs = (tensor for scope in scopes for node in scope.nodes for tensor in node.outputs)
    return frozenset(tensor.name for tensor in outputs if tensor.dtype is None or tensor.shape is None)


def check(graph: gs.Graph, untyped: frozenset[str], place: str) -> None:
    """Raise P008 with the first few violations."""
    found = violations(graph, untyped)
    if found:
        raise error("P008", found[0], place=place, notes=found[1:4], help="this is a bug in the pass: please report it")


def node_name(node: gs.Node) -> str:
    """The name a node goes by in messages: its own, else that of its first output."""
    return str(node.name or next((tensor.name for tensor in node.outputs if tensor.name), node.op))
