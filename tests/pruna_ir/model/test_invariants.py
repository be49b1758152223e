from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from seeded_passes import node

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name, untyped_tensors, violations

TEXT = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
        [outer] o = Exp (x)
        [if] i = If (c) <
            then_branch = a () => (float[2] t) { [mul] m = Mul (o, w)  [neg] t = Neg (m) },
            else_branch = b () => (float[2] e) { [id] e = Identity (o) }
        >
        [abs] y = Abs (i)
    }
"""


def body(graph: gs.Graph) -> gs.Graph:
    return node(graph, "if").attrs["then_branch"]


def unsort_body(graph: gs.Graph) -> None:
    body(graph).nodes.reverse()


def untype_body(graph: gs.Graph) -> None:
    node(body(graph), "mul").outputs[0].dtype = None


def read_from_nowhere_in_body(graph: gs.Graph) -> None:
    node(body(graph), "mul").inputs[0] = gs.Variable("nowhere", np.dtype("float32"), [2])


def read_what_comes_later(graph: gs.Graph) -> None:
    """`y` is written behind the If."""
    node(body(graph), "mul").inputs[0] = graph.outputs[0]


def drop_body_output(graph: gs.Graph) -> None:
    body(graph).nodes.pop()


def write_twice_in_body(graph: gs.Graph) -> None:
    neg = node(body(graph), "neg")
    body(graph).nodes.append(gs.Node("Abs", "again", inputs=list(neg.inputs), outputs=list(neg.outputs)))


def read_a_body_from_outside(graph: gs.Graph) -> None:
    """What a body writes is not seen outside of it."""
    node(graph, "abs").inputs[0] = node(body(graph), "mul").outputs[0]


def rename_output(graph: gs.Graph) -> None:
    """Another tensor of the output's name."""
    graph.outputs[0] = gs.Variable("i", np.dtype("float32"), [2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unsort_body, "`neg` (Neg) stands before the node that writes `m`"),
        (untype_body, "`m`, written by `mul` (Mul), has no type"),
        (read_from_nowhere_in_body, "`mul` (Mul) reads `nowhere`, which nothing writes"),
        (read_what_comes_later, "`mul` (Mul) reads `y`, which nothing writes"),
        (drop_body_output, "nothing writes the output `t`"),
        (write_twice_in_body, "`t` is written twice"),
        (read_a_body_from_outside, "`abs` (Abs) reads `m`, which nothing writes"),
        (rename_output, "two tensors are named `i`"),
    ],
)
def test_bodies_keep_the_invariants_too(change: Callable[[gs.Graph], None], message: str) -> None:
    model = Model.from_text(TEXT)
    assert violations(model.graph) == []
    change(model.graph)
    assert violations(model.graph)[0] == message
    with pytest.raises(PrunaError) as caught:
        model.check("somewhere")
    assert (caught.value.diagnostic.code, caught.value.diagnostic.place) == ("P008", "somewhere")


def test_every_violation_is_found_and_a_few_are_shown() -> None:
    model = Model.from_text(TEXT)
    for tensor in (tensor for item in model.graph.nodes for tensor in item.outputs):
        tensor.shape = None
    untype_body(model.graph)
    assert len(violations(model.graph)) == 4
    with pytest.raises(PrunaError) as caught:
        model.check()
    assert len(caught.value.diagnostic.notes) == 3


def test_what_never_had_a_type_needs_none() -> None:
    """ONNX knows no types for the operators of other domains."""
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[2] x) => (float[2] y) { a = com.microsoft.Gelu (x)  y = Abs (a) }
        """
    )
    assert untyped_tensors(model.graph) == {"a"}
    model.check()
    model.clone().check()


def test_inputs_and_constants_may_be_outputs() -> None:
    model = Model.from_text(TEXT)
    model.graph.outputs += [model.graph.inputs[1], node(body(model.graph), "mul").inputs[1]]
    model.check()


def test_a_node_without_a_name_goes_by_its_output() -> None:
    tensor = gs.Variable("t")
    assert node_name(gs.Node("Abs", outputs=[gs.Variable.empty(), tensor])) == "t"
    assert node_name(gs.Node("Abs", "named", outputs=[tensor])) == "named"
    assert node_name(gs.Node("Abs")) == "Abs"
