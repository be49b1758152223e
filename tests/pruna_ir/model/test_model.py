from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest
import seeded_passes as seeded
from seeded_passes import node, small_model

from pruna_ir.model import Model


def weights(model: Model) -> gs.Constant:
    return node(model.graph, "add").inputs[1]


def test_a_clone_shares_weights_until_they_are_replaced() -> None:
    model = small_model()
    _ = weights(model).values  # decoded, once for all clones
    clone = model.clone()
    assert weights(clone).values is weights(model).values
    weights(clone).values = weights(clone).values * 2
    assert weights(model).values.tolist() == [1, 2, 3, 4]
    assert weights(clone).values.tolist() == [2, 4, 6, 8]


def test_shared_weights_cannot_be_written_into() -> None:
    model = small_model()
    _ = weights(model).values
    for holder in (model.clone(), model):
        with pytest.raises(ValueError, match="read-only"):
            weights(holder).values[0] = 9


def test_a_constant_that_several_nodes_share_stays_shared_in_a_clone() -> None:
    model = small_model()
    shared = weights(model)
    model.graph.nodes[2].op = "Pow"
    model.graph.nodes[2].inputs.append(shared)
    first, _, last = model.clone().graph.nodes
    assert first.inputs[1] is last.inputs[1] is not shared
    assert first.inputs[1].outputs == [first, last]


def test_a_clone_is_linked_within_itself() -> None:
    graph = small_model().clone().graph
    for item in graph.nodes:
        assert all(item in tensor.outputs for tensor in item.inputs)
        assert all(tensor.inputs == [item] for tensor in item.outputs)
    assert graph.nodes[0].inputs[0] is graph.inputs[0]
    assert graph.nodes[2].outputs[0] is graph.outputs[0]


@pytest.mark.parametrize(
    "change",
    [
        seeded.change_weights,
        seeded.invalid_attribute,
        seeded.unknown_operator,
        seeded.wrong_type,
        seeded.drop_writer,
        lambda graph: setattr(graph.nodes[0], "name", "other"),
        lambda graph: setattr(graph, "opset", 18),
    ],
)
def test_every_change_changes_the_fingerprint(change: Callable[[gs.Graph], object]) -> None:
    model = small_model()
    before = model.fingerprint()
    change(model.graph)
    if model.graph.opset == 18:
        model.graph.import_domains = None  # graphsurgeon writes these if it has them
    assert model.fingerprint() != before
    assert small_model().fingerprint() == before


def test_reading_changes_nothing() -> None:
    model = small_model()
    before = model.fingerprint()
    _ = weights(model).values, model.inputs(), model.outputs(), str(model), model.clone(), model.opset
    model.check()
    assert model.fingerprint() == before


def test_a_guard_takes_back_what_a_pass_did() -> None:
    model = small_model()
    before, kept = model.fingerprint(), model.clone()
    seeded.forget_type(model.graph)
    model.replace_with(kept)
    assert model.fingerprint() == before


def test_a_graph_is_a_model() -> None:
    """As a script has it that builds a graph with graphsurgeon."""
    x = gs.Variable("x", np.dtype("float32"), ["N", 4])
    y = gs.Variable("y", np.dtype("float32"), ["N", 4])
    graph = gs.Graph([gs.Node("Exp", inputs=[x], outputs=[y])], [x], [y], opset=17)
    for model in (Model(graph), Model.load(graph)):
        model.check()
        assert [spec.name for spec in (*model.inputs(), *model.outputs())] == ["x", "y"]
        assert model.clone().fingerprint() == model.fingerprint()
    assert Model(graph).graph is graph
    assert Model.load(graph).graph is not graph


def test_a_model_remembers_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    small_model().save(path)
    assert Model.load(path).clone().source == path
    assert small_model().source is None


def test_text_shows_the_nodes() -> None:
    assert "[relu] r = Relu (a)" in str(small_model())
