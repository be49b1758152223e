"""Graphs inside graphs: the bodies of control flow."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs


def graphs_of(graph: gs.Graph) -> list[gs.Graph]:
    """A graph and every body inside it, an enclosing graph before what it holds.

    graphsurgeon's own `subgraphs` prepares a search for each node, which takes most of the time of a cheap pass.
    """
    inside = (body for node in graph.nodes if node.attrs for body in bodies_of(node))
    return [graph, *(scope for body in inside for scope in graphs_of(body))]


def bodies_of(node: gs.Node) -> list[gs.Graph]:
    """The graphs that a node holds itself: the branches of an If, the body of a Loop."""
    return [value for value in node.attrs.values() if isinstance(value, gs.Graph)]


def nodes_inside(node: gs.Node) -> Iterator[gs.Node]:
    """Every node of the bodies that a node holds, however deep."""
    for body in bodies_of(node):
        for scope in graphs_of(body):
            yield from scope.nodes
