"""Properties of the IR on random models."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from generated_models import comparable, models, run
from hypothesis import given, settings
from hypothesis import strategies as st

from pruna_ir.model import Model

FEEDS = {"in 0": np.linspace(-3, 3, 8, dtype=np.float32).reshape(2, 4)}
HEADER = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")

few = settings(max_examples=40)


@few
@given(models())
def test_loading_and_writing_keeps_everything(proto: onnx.ModelProto) -> None:
    original = onnx.ModelProto()
    original.CopyFrom(proto)
    model = Model.load(proto)
    assert proto == original  # what is given is not changed
    model.check()
    written = model.to_proto()
    assert comparable(written.graph) == comparable(proto.graph)
    for name in HEADER:
        assert getattr(written, name) == getattr(proto, name)
    assert [(entry.key, entry.value) for entry in written.metadata_props] == [
        (entry.key, entry.value) for entry in proto.metadata_props
    ]


@few
@given(models())
def test_what_is_loaded_again_is_the_same(proto: onnx.ModelProto) -> None:
    model = Model.load(proto)
    assert Model.load(model.to_proto()).fingerprint() == model.fingerprint()
    assert Model.load(model.to_proto().SerializeToString()).fingerprint() == model.fingerprint()


@few
@given(models())
def test_text_is_read_back(proto: onnx.ModelProto) -> None:
    model = Model.load(proto)
    again = Model.from_text(str(model))
    assert [node.op for node in again.graph.nodes] == [node.op for node in model.graph.nodes]
    for found, wanted in zip(run(again, FEEDS), run(model, FEEDS), strict=True):
        np.testing.assert_array_equal(found, wanted)


@few
@given(models())
def test_outputs_are_bit_equal(proto: onnx.ModelProto) -> None:
    for found, wanted in zip(run(Model.load(proto), FEEDS), run(proto, FEEDS), strict=True):
        np.testing.assert_array_equal(found, wanted)


@few
@given(models(), st.data())
def test_a_clone_is_equal_and_independent(proto: onnx.ModelProto, data: st.DataObject) -> None:
    model = Model.load(proto)
    fingerprint = model.fingerprint()
    clone = model.clone()
    clone.check()
    assert clone.fingerprint() == fingerprint
    for graph in [clone.graph, *clone.graph.subgraphs(recursive=True)]:
        spoil(graph)
    assert model.fingerprint() == fingerprint
    second = model.clone()
    second.graph.nodes.pop(data.draw(st.integers(0, len(second.graph.nodes) - 1)))
    assert model.fingerprint() == fingerprint


def spoil(graph: gs.Graph) -> None:
    """Change everything that can be changed in place."""
    graph.name = "spoilt"
    for tensor in graph.tensors().values():
        tensor.name = f"spoilt {tensor.name}"
        if isinstance(tensor, gs.Variable) and tensor.shape:
            tensor.shape[0] = 99
        if isinstance(tensor, gs.Constant):
            tensor.values = np.zeros(1, np.float32)
    for node in graph.nodes:
        node.op = "Spoilt"
        for value in node.attrs.values():
            if isinstance(value, list):
                value.append(1)
            if isinstance(value, gs.Constant):
                value.values = np.zeros(1, np.float32)
        node.attrs["spoilt"] = 1
        node.inputs.clear()
    graph.inputs.clear()
    graph.outputs.clear()
