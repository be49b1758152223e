"""Bodies inside bodies are found, an enclosing one before what it holds."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.model.scoping import bodies_of, graphs_of, nodes_inside


def test_graphs_are_found_at_every_depth() -> None:
    deep = gs.Graph(name="deep", nodes=[gs.Node("Relu", "leaf")])
    middle = gs.Graph(name="middle", nodes=[gs.Node("Loop", "inner", attrs={"body": deep})])
    other = gs.Graph(name="other")
    branch = gs.Node("If", "outer", attrs={"then_branch": middle, "else_branch": other, "alpha": 1})
    graph = gs.Graph(name="main", nodes=[gs.Node("Relu", "first"), branch])
    assert [found.name for found in graphs_of(graph)] == ["main", "middle", "deep", "other"]
    assert bodies_of(branch) == [middle, other]
    assert [node.name for node in nodes_inside(branch)] == ["inner", "leaf"]
    assert not bodies_of(graph.nodes[0])
