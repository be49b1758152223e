from __future__ import annotations

import onnx
import pytest
from onnx import AttributeProto, TensorProto
from onnx.helper import make_attribute, make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager


def proto_with(node: onnx.NodeProto, kind: int = TensorProto.FLOAT, dims: list[int] | None = None) -> onnx.ModelProto:
    """A node that reads `x`, or nothing, and writes `y`."""
    inputs = [make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    graph = make_graph([node], "g", inputs, [make_tensor_value_info("y", kind, dims)])
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("name", "kind", "stored"),
    [
        ("value_ints", AttributeProto.INTS, TensorProto.INT64),
        ("value_floats", AttributeProto.FLOATS, TensorProto.FLOAT),
        ("value_strings", AttributeProto.STRINGS, TensorProto.STRING),
    ],
)
def test_a_constant_without_elements_becomes_a_tensor(
    name: str, kind: AttributeProto.AttributeType, stored: int
) -> None:
    node = make_node("Constant", [], ["y"], "c")
    node.attribute.append(AttributeProto(name=name, type=kind))
    (attribute,) = Model.load(proto_with(node, stored, [0])).to_proto().graph.node[0].attribute
    assert (attribute.name, attribute.t.data_type, list(attribute.t.dims)) == ("value", stored, [0])


def test_a_sparse_constant_becomes_dense() -> None:
    values = onnx.helper.make_tensor("", TensorProto.FLOAT, [2], [1.5, 2.5])
    places = onnx.helper.make_tensor("", TensorProto.INT64, [2], [1, 5])
    node = make_node("Constant", [], ["y"], sparse_value=onnx.helper.make_sparse_tensor(values, places, [2, 3]))
    (attribute,) = Model.load(proto_with(node)).to_proto().graph.node[0].attribute
    assert attribute.name == "value"
    assert onnx.numpy_helper.to_array(attribute.t).tolist() == [[0, 1.5, 0], [0, 0, 2.5]]


def test_empty_lists_and_documentation_come_back() -> None:
    node = make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=1)
    node.attribute.append(AttributeProto(name="activation_alpha", type=AttributeProto.FLOATS))
    node.attribute[0].doc_string = "how much it remembers"
    weights = [onnx.helper.make_tensor(name, 1, dims, [0.5] * 4) for name, dims in (("w", [1, 4, 1]), ("r", [1, 4, 1]))]
    graph = make_graph(
        [node],
        "g",
        [make_tensor_value_info("x", 1, [2, 1, 1])],
        [make_tensor_value_info("y", 1, [2, 1, 1, 1])],
        weights,
    )
    model = Model.load(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8))
    assert "activation_alpha" not in model.graph.nodes[0].attrs
    PassManager.parse("dead-code").run(model)
    first, second = model.clone().to_proto().graph.node[0].attribute
    assert (first.name, first.doc_string) == ("hidden_size", "how much it remembers")
    assert (second.name, second.type) == ("activation_alpha", AttributeProto.FLOATS)
    model.graph.nodes[0].attrs["activation_alpha"] = [0.5]
    assert [list(attribute.floats) for attribute in model.to_proto().graph.node[0].attribute] == [[], [0.5]]


@pytest.mark.parametrize("text", [b"\xff\xfe", [b"fine", b"\xff"]])
def test_bytes_that_are_no_text_are_refused(text: bytes | list[bytes]) -> None:
    name = "value_string" if isinstance(text, bytes) else "value_strings"
    node = make_node("Constant", [], ["y"], "c")
    node.attribute.append(make_attribute(name, text))
    with pytest.raises(PrunaError) as caught:
        Model.load(proto_with(node, TensorProto.STRING))
    diagnostic = caught.value.diagnostic
    assert (diagnostic.code, diagnostic.message) == ("M007", f"attribute `{name}` of `c` is not UTF-8 text")


def test_lists_of_tensors_are_refused() -> None:
    node = make_node("EPContext", ["x"], ["y"], "e", domain="com.microsoft")
    node.attribute.append(make_attribute("parts", [onnx.helper.make_tensor("", 1, [1], [1.0])]))
    proto = proto_with(node, dims=[2, 3])
    proto.opset_import.append(make_opsetid("com.microsoft", 1))
    with pytest.raises(PrunaError, match="attribute `parts` of `e` is of the type TENSORS"):
        Model.load(proto)
