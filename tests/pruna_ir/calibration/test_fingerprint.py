"""Fingerprints change with everything upstream, and with nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pruna_ir.calibration import fingerprints
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x, bool flag) => (float[N, 3] y, float[N, 3] z)
<float[3] bias = {1.0, 2.0, 3.0}>
{
    a = Add (x, bias)
    b = LeakyRelu <alpha = 0.1> (a)
    y = If (flag) <
        then_branch = yes () => (float[N, 3] t) { t = Neg (b) },
        else_branch = no () => (float[N, 3] e) { e = Exp (a) }
    >
    z = Neg (x)
}
"""


@pytest.fixture
def proto() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


def changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    old, new = fingerprints(before), fingerprints(after)
    return {name for name in new if old.get(name) != new[name]}


def copy_of(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def test_every_tensor_has_its_own(proto: onnx.ModelProto) -> None:
    found = fingerprints(proto)
    assert set(found) == {"x", "flag", "bias", "a", "b", "y", "z"}
    assert len(set(found.values())) == len(found)


def test_a_weight_changes_what_follows(proto: onnx.ModelProto) -> None:
    other = copy_of(proto)
    bias = np.array([1, 2, 3.5], np.float32)
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(bias, "bias"))
    assert changed(proto, other) == {"bias", "a", "b", "y"}


def test_an_attribute_changes_what_follows(proto: onnx.ModelProto) -> None:
    other = copy_of(proto)
    other.graph.node[1].attribute[0].f = 0.2
    assert changed(proto, other) == {"b", "y"}  # y's body reads b from outside


def test_a_body_and_an_operator_count(proto: onnx.ModelProto) -> None:
    other = copy_of(proto)
    other.graph.node[2].attribute[1].g.node[0].op_type = "Sqrt"
    assert changed(proto, other) == {"y"}
    other = copy_of(proto)
    other.graph.node[3].op_type = "Abs"
    assert changed(proto, other) == {"z"}


def test_the_input_and_the_operator_set_count(proto: onnx.ModelProto) -> None:
    other = copy_of(proto)
    other.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    assert changed(proto, other) == {"x", "a", "b", "y", "z"}
    other = copy_of(proto)
    other.opset_import[0].version = 18
    assert changed(proto, other) == {"a", "b", "y", "z"}


def test_names_documentation_and_storage_do_not_count(proto: onnx.ModelProto) -> None:
    other = copy_of(proto)
    for node in other.graph.node:
        node.name, node.doc_string = f"{node.op_type}_7", "words"
    other.graph.node[1].attribute[0].doc_string = "words"
    bias = other.graph.initializer[0]
    assert not bias.HasField("raw_data")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias), "offset"))
    assert bias.HasField("raw_data")
    other.graph.node[0].input[1] = "offset"
    assert changed(proto, other) == {"offset"}
    assert fingerprints(other)["offset"] == fingerprints(proto)["bias"]


def test_outputs_of_one_node_differ() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[4] x) => (float[2] a, float[2] b) { a, b = Split (x) }
    """
    found = fingerprints(onnx.parser.parse_model(text))
    assert found["a"] != found["b"]


def test_a_model_and_its_clone_agree(proto: onnx.ModelProto) -> None:
    model = Model.load(proto)
    assert fingerprints(model) == fingerprints(model.clone())


def test_strings_are_hashed_by_value() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[2] x) => (string[2] y) { y = Constant <value = string[2] {"a", "b"}> () }
    """
    proto = onnx.parser.parse_model(text)
    other = copy_of(proto)
    other.graph.node[0].attribute[0].t.string_data[1] = b"c"
    assert changed(proto, other) == {"y"}
    assert not changed(proto, copy_of(proto))


def test_nodes_out_of_order(proto: onnx.ModelProto) -> None:
    proto.graph.node.insert(0, proto.graph.node[1])
    with pytest.raises(PrunaError) as failure:
        fingerprints(proto)
    assert failure.value.diagnostic.code == "M005"
