from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.helper import make_node
from seeded_passes import small_model

from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.model import Model


def refusal(proto: onnx.ModelProto) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        Model.load(proto)
    return caught.value.diagnostic


def test_unsorted_nodes_are_sorted_and_sorted_ones_left_alone() -> None:
    proto = small_model().to_proto()
    proto.graph.node.sort(key=lambda node: node.name, reverse=True)
    assert [node.name for node in proto.graph.node] == ["relu", "exp", "add"]
    assert [node.name for node in Model.load(proto).graph.nodes] == ["add", "relu", "exp"]


def test_unsorted_nodes_in_bodies_are_sorted() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = a () => (float[2] t) { t = Neg (u)  u = Abs (late) },
                else_branch = b () => (float[2] e) { e = Identity (x) }
            >
            late = Exp (x)
        }
        """
    )
    assert [node.op for node in model.graph.nodes] == ["Exp", "If"]
    assert [node.op for node in model.graph.nodes[1].attrs["then_branch"].nodes] == ["Abs", "Neg"]
    model.check()


def test_a_cycle_is_shown() -> None:
    proto = small_model().to_proto()
    proto.graph.node[0].input[1] = "r"
    diagnostic = refusal(proto)
    assert diagnostic.code == "M005"
    assert diagnostic.message == "the graph has a cycle: `add` -> `relu` -> `add`"


def test_a_tensor_from_nowhere_is_named() -> None:
    proto = small_model().to_proto()
    proto.graph.node[1].input[0] = "nowhere"
    diagnostic = refusal(proto)
    assert (diagnostic.code, diagnostic.message) == ("M005", "nothing writes `nowhere`, which `relu` reads")


def test_an_output_from_nowhere_is_named() -> None:
    proto = small_model().to_proto()
    proto.graph.output[0].name = "z"
    diagnostic = refusal(proto)
    assert (diagnostic.code, diagnostic.message) == ("M005", "nothing writes the output `z`")


def test_unknown_operators_are_all_listed() -> None:
    proto = small_model().to_proto()
    proto.graph.node[1].op_type = "Reluu"
    proto.graph.node[2].domain = "custom"
    diagnostic = refusal(proto)
    assert diagnostic.code == "M004"
    assert diagnostic.message == "unknown operators: `ai.onnx::Reluu` (node `relu`), `custom::Exp` (node `exp`)"


def test_operators_of_onnx_runtime_are_known() -> None:
    proto = small_model().to_proto()
    proto.graph.node[1].CopyFrom(make_node("Gelu", ["a"], ["r"], "gelu", domain="com.microsoft"))
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model = Model.load(proto)
    model.check()  # though ONNX knows no type for its output
    assert {entry.domain for entry in model.to_proto().opset_import} == {"", "com.microsoft"}


def weighted(values: list[float], op: str = "Add") -> onnx.ModelProto:
    proto = small_model().to_proto()
    proto.graph.node[0].op_type = op
    shape = (4, 4) if op == "MatMul" else (4,)
    array = np.resize(np.array(values, np.float32), shape)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "b"))
    return proto


def test_weights_that_are_nan_are_refused() -> None:
    diagnostic = refusal(weighted([1, np.nan, 2, np.inf]))
    assert (diagnostic.code, diagnostic.message) == ("M008", "`b` holds 1 NaN and 1 Inf among 4 values")


def test_infinities_are_meant_only_where_nothing_is_weighted() -> None:
    Model.load(weighted([0, 0, 0, -np.inf]))  # a mask
    assert refusal(weighted([0, 0, 0, -np.inf], "MatMul")).code == "M008"
