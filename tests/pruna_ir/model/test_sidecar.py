from __future__ import annotations

import onnx
import seeded_passes as seeded
from onnx import TensorProto
from onnx.helper import make_tensor_value_info
from seeded_passes import small_model

from pruna_ir.model import Model


def annotated() -> onnx.ModelProto:
    """A model that says something everywhere ONNX lets it."""
    proto = small_model().to_proto()
    proto.domain, proto.model_version, proto.doc_string = "org.example", 7, "about the model"
    proto.producer_name, proto.producer_version = "exporter", "1.2"
    proto.metadata_props.add(key="author", value="somebody")
    graph = proto.graph
    graph.doc_string = "about the graph"
    graph.input[0].type.denotation = "IMAGE"
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    for index, part in enumerate(
        [graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]
    ):
        part.doc_string = f"part {index}"
        part.metadata_props.add(key="part", value=str(index))
    annotation = graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b")
    return proto


def test_everything_that_is_said_comes_back() -> None:
    proto = annotated()
    written = Model.load(proto).to_proto()
    # Fields that graphsurgeon writes although they are empty.
    for node in written.graph.node:
        if not node.domain:
            node.ClearField("domain")
    for node in proto.graph.node:
        node.ClearField("domain")
    assert written == proto


def test_notes_survive_a_clone_and_a_file() -> None:
    model = Model.load(annotated())
    assert model.clone().fingerprint() == model.fingerprint()
    assert Model.load(model.to_proto().SerializeToString()).fingerprint() == model.fingerprint()


def test_notes_of_what_is_gone_are_left_out() -> None:
    model = Model.load(annotated())
    relu, exp = seeded.node(model.graph, "relu"), seeded.node(model.graph, "exp")
    exp.inputs[0] = relu.inputs[0]
    model.graph.nodes.remove(relu)
    written = model.to_proto().graph
    assert [node.doc_string for node in written.node] == ["part 1", "part 3"]
    assert [value.name for value in written.value_info] == ["a"]
    assert [entry.tensor_name for entry in written.quantization_annotation] == ["a"]


def test_a_rewritten_protobuf_keeps_the_notes_of_what_survives() -> None:
    model = Model.load(annotated())
    bare = onnx.ModelProto()
    bare.CopyFrom(small_model().to_proto())
    bare.graph.node[1].op_type = "Abs"
    model.adopt(bare)
    written = model.to_proto()
    assert written.doc_string == "about the model"
    assert [node.doc_string for node in written.graph.node] == ["part 1", "part 2", "part 3"]
    assert written.graph.node[1].op_type == "Abs"


def test_a_pass_may_change_the_interface() -> None:
    model = Model.load(annotated())
    model.graph.inputs[0].shape = [1, 4]
    assert model.to_proto().graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_unknown_dimensions_of_the_interface_stay_unknown() -> None:
    proto = small_model().to_proto()
    del proto.graph.value_info[:]
    proto.graph.output[0].CopyFrom(make_tensor_value_info("y", TensorProto.FLOAT, [None, 4]))
    proto.graph.input[0].CopyFrom(make_tensor_value_info("x", TensorProto.FLOAT, [None, 4]))
    model = Model.load(proto)
    assert model.graph.outputs[0].shape[0]  # a name that inference made up
    written = model.to_proto().graph
    assert (written.input[0], written.output[0]) == (proto.graph.input[0], proto.graph.output[0])


def test_no_names_are_invented() -> None:
    assert not onnx.ModelProto.FromString(small_model().to_proto().SerializeToString()).HasField("producer_name")
