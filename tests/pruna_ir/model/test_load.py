from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from generated_models import run
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from seeded_passes import TEXT, small_model

from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.model import Model, TensorSpec
from pruna_ir.model.load import normalize

FLOAT = onnx.TensorProto.FLOAT


def refusal(load: Callable[[], object]) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        load()
    return caught.value.diagnostic


def test_every_form_gives_the_same_model(tmp_path: Path) -> None:
    model = small_model()
    proto = model.to_proto()
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    text = tmp_path / "m.onnxtxt"
    text.write_text(TEXT)
    for source in (path, str(path), text, proto, proto.SerializeToString(), model, model.graph):
        assert Model.load(source).fingerprint() == model.fingerprint()


def test_what_is_loaded_is_independent_of_its_source() -> None:
    model = small_model()
    fingerprint = model.fingerprint()
    for source in (model, model.graph, model.to_proto()):
        Model.load(source).graph.nodes[0].op = "Sub"
        assert model.fingerprint() == fingerprint


def test_the_interface_is_as_the_file_says() -> None:
    assert small_model().inputs() == (TensorSpec("x", np.dtype("float32"), ("N", 4)),)
    assert str(small_model().outputs()[0]) == "y: float32[N, 4]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xff" * 100, "not a protobuf, or a truncated one"),
        (small_model().to_proto().SerializeToString()[:-7], "not a protobuf, or a truncated one"),
        (onnx.TensorProto(name="t").SerializeToString(), "not a protobuf, or a truncated one"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "a protobuf, but not an ONNX model: it has no graph"),
    ],
)
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    diagnostic = refusal(lambda: Model.load(path))
    assert (diagnostic.code, diagnostic.place) == ("M002", str(path))
    assert diagnostic.message.startswith(message)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert refusal(lambda: Model.load(tmp_path)).message == "cannot read the file: Is a directory"
    diagnostic = refusal(lambda: Model.load(tmp_path / "none.onnx"))
    assert (diagnostic.code, diagnostic.message) == ("M001", "no such file")


def test_text_with_a_mistake_is_refused() -> None:
    diagnostic = refusal(lambda: Model.from_text(TEXT.replace("Relu (a)", "Relu a)")))
    assert diagnostic.code == "M002"
    assert diagnostic.message.startswith("not ONNX text: [ParseError at position (line: 5 column: ")


def test_functions_are_inlined() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[N] x) => (float[N] y) { y = mine.twice (x) }
        <domain: "mine", opset_import: ["" : 17]> twice (a) => (b) { b = Add (a, a) }
        """
    )
    assert [node.op for node in model.graph.nodes] == ["Add"]
    assert model.notes == ["1 functions inlined"]
    assert not model.to_proto().functions


def test_initializers_among_the_inputs_become_constants() -> None:
    proto = small_model().to_proto()
    proto.graph.input.append(make_tensor_value_info("b", FLOAT, [4]))
    model = Model.load(proto)
    assert [spec.name for spec in model.inputs()] == ["x"]
    assert model.notes == ["1 initializers were listed as inputs and are now constants"]
    assert [value.name for value in model.to_proto().graph.input] == ["x"]


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_old_opsets_are_raised_and_checked(opset: int) -> None:
    nodes = [
        make_node("Softmax", ["x"], ["s"], axis=1),  # means another thing from opset 13 on
        make_node("Unsqueeze", ["s"], ["y"], axes=[0]),  # takes its axes as an input from opset 13 on
    ]
    inputs, outputs = (
        [make_tensor_value_info("x", FLOAT, [2, 3, 4])],
        [make_tensor_value_info("y", FLOAT, [1, 2, 3, 4])],
    )
    proto = make_model(make_graph(nodes, "g", inputs, outputs), opset_imports=[make_opsetid("", opset)], ir_version=4)
    model = Model.load(proto)
    assert model.opset == 13
    assert model.notes == [f"opset raised from {opset} to 13, checked against the original's outputs"]
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)}
    np.testing.assert_allclose(run(model, feeds)[0], run(proto, feeds)[0], rtol=1e-6)


BRANCHES = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (bool c, float[2] x) => (float[2] y) {
        outer = Exp (x)
        y = If (c) <
            then_branch = a () => (float[2] t) { t = Neg (outer) },
            else_branch = b () => (float[2] e) { u = Abs (x)  e = Add (u, outer) }
        >
    }
"""
LOOP = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (int64 n, float[2] x) => (float[2] y) <bool go = {1}> {
        step = Exp (x)
        y = Loop (n, go, x) <
            body = b (int64 i, bool on, float[2] s) => (bool still, float[2] next) {
                still = Identity (on)
                next = Add (s, step)
            }
        >
    }
"""
SCAN = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[3,2] x) => (float[2] last, float[3,2] sums) <float[2] zero = {0, 0}> {
        scale = Exp (zero)
        last, sums = Scan (zero, x) <
            num_scan_inputs = 1,
            body = b (float[2] s, float[2] row) => (float[2] total, float[2] copy) {
                scaled = Mul (row, scale)
                total = Add (s, scaled)
                copy = Identity (total)
            }
        >
    }
"""


@pytest.mark.parametrize(
    ("text", "feeds"),
    [
        (BRANCHES, {"c": np.array(True), "x": np.array([1, -2], np.float32)}),
        (BRANCHES, {"c": np.array(False), "x": np.array([1, -2], np.float32)}),
        (LOOP, {"n": np.array(3), "x": np.array([1, -2], np.float32)}),
        (SCAN, {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}),
    ],
)
def test_bodies_keep_what_they_take_from_outside(text: str, feeds: dict[str, np.ndarray]) -> None:
    model = Model.from_text(text)
    model.check()
    (outer,) = [node for node in model.graph.nodes if node.op == "Exp"]
    (body, *_) = model.graph.subgraphs(recursive=True)
    readers = {id(reader) for reader in outer.outputs[0].outputs}
    assert any(id(node) in readers for node in body.nodes)  # the same tensor, not one of the same name
    for candidate in (model, model.clone(), Model.load(model.to_proto())):
        for found, wanted in zip(run(candidate, feeds), run(onnx.parser.parse_model(text), feeds), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (onnx.helper.make_tensor_sequence_value_info("x", FLOAT, None), "`x` is a sequence, not a tensor"),
        (
            onnx.helper.make_value_info("x", onnx.helper.make_optional_type_proto(
                onnx.helper.make_tensor_type_proto(FLOAT, [4])
            )),
            "`x` is a optional, not a tensor",
        ),
    ],
)  # fmt: skip
def test_sequences_and_optionals_are_refused(value: onnx.ValueInfoProto, message: str) -> None:
    graph = make_graph([make_node("Identity", ["x"], ["y"])], "g", [value], [make_tensor_value_info("y", FLOAT, None)])
    proto = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
    diagnostic = refusal(lambda: Model.load(proto))
    assert (diagnostic.code, diagnostic.message) == ("M007", message)


def test_nodes_on_sequences_are_refused() -> None:
    nodes = [make_node("SequenceConstruct", ["x"], ["s"]), make_node("ConcatFromSequence", ["s"], ["y"], axis=0)]
    values = [make_tensor_value_info(name, FLOAT, [4]) for name in ("x", "y")]
    proto = make_model(
        make_graph(nodes, "g", values[:1], values[1:]), opset_imports=[make_opsetid("", 17)], ir_version=8
    )
    assert refusal(lambda: Model.load(proto)).code == "M007"


def test_what_the_checker_refuses_is_refused_with_its_reason() -> None:
    proto = small_model().to_proto()
    proto.graph.node[1].attribute.append(onnx.helper.make_attribute("slope", 0.1))
    diagnostic = refusal(lambda: Model.load(proto))
    assert (diagnostic.code, diagnostic.message) == ("M006", "Unrecognized attribute: slope for operator Relu")


def test_a_model_without_a_name_gets_one() -> None:
    proto = small_model().to_proto()
    proto.graph.name = ""
    assert Model.load(proto).to_proto().graph.name == "model"


def test_normalizing_types_every_tensor() -> None:
    loaded = normalize(onnx.parser.parse_model(TEXT), Path())
    assert {value.name for value in loaded.proto.graph.value_info} == {"a", "r"}


def test_initializers_of_the_first_ir_versions_need_not_be_inputs_any_more(tmp_path: Path) -> None:
    proto = small_model().to_proto()
    proto.ir_version, proto.opset_import[0].version = 3, 9
    proto.graph.input.append(make_tensor_value_info("b", FLOAT, [4]))
    model = Model.load(proto)
    onnx.checker.check_model(model.to_proto())
    assert [spec.name for spec in model.inputs()] == ["x"]
    assert (model.to_proto().ir_version, model.opset) == (4, 13)


def test_a_poorer_type_among_the_inner_values_does_not_replace_that_of_an_output() -> None:
    proto = small_model().to_proto()
    repeated = proto.graph.value_info.add()
    repeated.CopyFrom(proto.graph.output[0])
    repeated.type.tensor_type.ClearField("shape")
    model = Model.load(proto)
    assert model.outputs() == small_model().outputs()
    onnx.checker.check_model(model.to_proto())


def test_an_output_without_a_shape_takes_that_of_the_inner_values() -> None:
    proto = small_model().to_proto()
    proto.graph.value_info.add().CopyFrom(proto.graph.output[0])
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert Model.load(proto).outputs() == small_model().outputs()
