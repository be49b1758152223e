from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from seeded_passes import node, small_model

from pruna_ir.model import Model
from pruna_ir.pipeline.rewriter import Rewriter, redirect, remove_nodes, tensor_names

TWICE = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (bool c, float[2] x) => (float[2] y) {
        [a] t = Exp (x)
        [b] u = Add (t, t)
        [if] v = If (c) <
            then_branch = p () => (float[2] r) { [n] r = Neg (t) },
            else_branch = q () => (float[2] s) { [m] s = Abs (t) }
        >
        [e] y = Add (u, v)
    }
"""


def linked(graph: gs.Graph) -> None:
    """Check that the nodes and tensors of a graph know each other, once for each place."""
    for scope in [graph, *graph.subgraphs(recursive=True)]:
        for item in scope.nodes:
            for tensor in item.inputs:
                assert sum(reader is item for reader in tensor.outputs) == sum(held is tensor for held in item.inputs)
            for tensor in item.outputs:
                assert [writer is item for writer in tensor.inputs] == [True]


def test_redirecting_reaches_every_place_and_every_scope() -> None:
    graph = Model.from_text(TWICE).graph
    old, new = node(graph, "a").outputs[0], graph.inputs[1]
    readers = redirect(old, new)
    assert [reader.name for reader in readers] == ["b", "n", "m"]
    assert old.outputs == []
    assert all(tensor is new for tensor in node(graph, "b").inputs)
    assert node(graph, "if").attrs["then_branch"].nodes[0].inputs[0] is new
    linked(graph)


def test_removing_unlinks_bodies_too() -> None:
    graph = Model.from_text(TWICE).graph
    tensor = node(graph, "a").outputs[0]
    remove_nodes(graph, [node(graph, "if"), node(graph, "e")])
    assert [item.name for item in graph.nodes] == ["a", "b"]
    assert [reader.name for reader in tensor.outputs] == ["b", "b"]
    assert graph.inputs[0].outputs == []


def test_names_are_unique_over_all_scopes() -> None:
    graph = Model.from_text(TWICE).graph
    assert tensor_names(graph) == {"c", "x", "y", "t", "u", "v", "r", "s"}
    rewriter = Rewriter(graph)
    assert [rewriter.fresh_name("r"), rewriter.fresh_name("r"), rewriter.fresh_name("new")] == ["r_1", "r_2", "new"]


def test_insertions_and_removals_keep_the_order() -> None:
    graph = small_model().graph
    rewriter = Rewriter(graph)
    add, relu, exp = graph.nodes
    first = rewriter.variable("first", np.dtype("float32"), ["N", 4])
    second = rewriter.variable("second", np.dtype("float32"), ["N", 4])
    rewriter.insert(gs.Node("Abs", "one", inputs=[add.outputs[0]], outputs=[first]), before=relu)
    rewriter.insert(gs.Node("Neg", "two", inputs=[first], outputs=[second]), before=relu)
    rewriter.redirect(relu.outputs[0], second)
    rewriter.erase(relu)
    assert rewriter.is_erased(relu)
    assert [item.name for item in graph.nodes] == ["add", "relu", "exp"]  # nothing happens before the commit
    rewriter.commit()
    assert [item.name for item in graph.nodes] == ["add", "one", "two", "exp"]
    assert exp.inputs[0] is second
    linked(graph)
    Model(graph).check()


def test_a_node_can_take_over_an_output() -> None:
    graph = small_model().graph
    rewriter = Rewriter(graph)
    _, relu, exp = graph.nodes
    output = exp.outputs[0]
    rewriter.take_over(relu, output)
    rewriter.erase(exp)
    rewriter.commit()
    assert relu.outputs[0] is output is graph.outputs[0]
    Model(graph).check()


def test_an_input_is_replaced_in_its_place_only() -> None:
    graph = Model.from_text(TWICE).graph
    rewriter = Rewriter(graph)
    b = node(graph, "b")
    rewriter.set_input(b, 1, graph.inputs[1])
    assert [tensor.name for tensor in b.inputs] == ["t", "x"]
    rewriter.set_input(b, 2, rewriter.constant("k", np.ones(2, np.float32)))
    assert [tensor.name for tensor in b.inputs] == ["t", "x", "k"]
    linked(graph)


def test_a_tensor_that_others_need_is_not_internal() -> None:
    graph = Model.from_text(TWICE).graph
    rewriter = Rewriter(graph)
    assert rewriter.not_internal(node(graph, "b").outputs[0]) is None
    assert str(rewriter.not_internal(graph.outputs[0])) == "`y` is an output of the graph"
    assert str(rewriter.not_internal(node(graph, "a").outputs[0])) == "`t` has 4 users"  # two of them in bodies


def test_insertions_behind_a_node_and_in_front_of_all() -> None:
    graph = small_model().graph
    rewriter = Rewriter(graph)
    add, relu, exp = graph.nodes
    tensors = [rewriter.variable("new", np.dtype(np.float32), [2]) for _ in range(4)]
    rewriter.insert(gs.Node("Neg", "early", inputs=[tensors[0]], outputs=[tensors[1]]), before=add)
    rewriter.insert_after(gs.Node("Abs", "first", inputs=add.inputs[:1], outputs=[tensors[0]]), None)
    rewriter.insert_after(gs.Node("Neg", "last", inputs=[tensors[2]], outputs=[tensors[3]]), add)
    rewriter.insert_after(gs.Node("Abs", "behind", inputs=add.outputs[:1], outputs=[tensors[2]]), add)
    rewriter.erase(relu)
    rewriter.commit()
    assert [item.name for item in graph.nodes] == ["first", "early", add.name, "behind", "last", exp.name]


def test_touched_nodes_and_their_neighbours_are_looked_at_again() -> None:
    graph = small_model().graph
    rewriter = Rewriter(graph)
    add, relu, exp = graph.nodes
    rewriter.touch(relu)
    assert rewriter.take_touched() == [relu, add, exp]
    assert rewriter.take_touched() == []
    rewriter.erase(exp)
    assert rewriter.take_touched() == [relu]


def test_nothing_to_commit_leaves_the_list_alone() -> None:
    graph = small_model().graph
    before = graph.nodes
    Rewriter(graph).commit()
    assert graph.nodes is before


@pytest.mark.parametrize("values", [np.float32(3), np.arange(6, dtype=np.float32).reshape(2, 3).T])
def test_new_constants_are_contiguous(values: np.ndarray) -> None:
    constant = Rewriter(small_model().graph).constant("k", values)
    assert constant.values.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(constant.values, values)
