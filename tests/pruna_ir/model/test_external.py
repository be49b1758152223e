from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import EncodeError
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.model import Model
from pruna_ir.model.external import PROTOBUF_LIMIT, ExternalValues, exceeds, is_external, tensors
from pruna_ir.model.save import write

WEIGHT = np.arange(1024, dtype=np.float32).reshape(32, 32)


def proto_of(*weights: onnx.TensorProto) -> onnx.ModelProto:
    """x + the first weight; the others are outputs of Identity nodes."""
    nodes = [make_node("Add", ["x", weights[0].name], ["y"])]
    nodes += [make_node("Identity", [tensor.name], [f"y_{tensor.name}"]) for tensor in weights[1:]]
    outputs = [make_tensor_value_info("y", 1, [32, 32])]
    outputs += [make_tensor_value_info(f"y_{tensor.name}", tensor.data_type, tensor.dims) for tensor in weights[1:]]
    graph = make_graph(nodes, "g", [make_tensor_value_info("x", 1, [32, 32])], outputs, weights)
    return make_model(graph, opset_imports=[make_opsetid("", 23)], ir_version=11)


def tensor(values: np.ndarray, name: str = "w") -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(values, name)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A model whose weight lies in another file."""
    path = tmp_path / "m.onnx"
    onnx.save_model(proto_of(tensor(WEIGHT)), path, save_as_external_data=True, location="m.data", size_threshold=0)
    return path


def test_external_weights_stay_in_their_file_until_they_are_read(stored: Path) -> None:
    constant = Model.load(stored).graph.nodes[0].inputs[1]
    assert isinstance(constant._values, ExternalValues)
    assert (constant.dtype, list(constant.shape)) == (np.float32, [32, 32])
    assert isinstance(constant.values, np.memmap)
    np.testing.assert_array_equal(constant.values, WEIGHT)
    with pytest.raises(ValueError, match="read-only"):
        constant.values[0, 0] = 1


def test_a_clone_shares_the_file(stored: Path) -> None:
    clone = Model.load(stored).clone()
    assert isinstance(clone.graph.nodes[0].inputs[1]._values, ExternalValues)
    np.testing.assert_array_equal(clone.graph.nodes[0].inputs[1].values, WEIGHT)


def test_a_protobuf_of_it_holds_the_weights(stored: Path) -> None:
    proto = Model.load(stored).to_proto()
    assert not any(is_external(held) for held in tensors(proto.graph))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto.graph.initializer[0]), WEIGHT)


def test_above_the_limit_weights_are_written_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    small = tensor(np.arange(4, dtype=np.int64), "shape")
    typed = onnx.helper.make_tensor("typed", onnx.TensorProto.FLOAT, [32, 32], WEIGHT.reshape(-1))  # not raw bytes
    original = proto_of(tensor(WEIGHT), small, typed)
    original.graph.initializer[0].doc_string = "kept"
    size = write(Model.load(original).to_proto(), path, limit=2000)
    data = tmp_path / "large.onnx.data"
    assert size == path.stat().st_size + data.stat().st_size
    bare = onnx.load(path, load_external_data=False)
    assert {held.name: is_external(held) for held in bare.graph.initializer} == {
        "w": True,
        "shape": False,
        "typed": True,
    }
    assert bare.graph.initializer[0].doc_string == "kept"
    onnx.checker.check_model(path)
    again = Model.load(path).to_proto()
    for held, wanted in zip(again.graph.initializer, original.graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(held), onnx.numpy_helper.to_array(wanted))


def test_at_the_limit_a_model_is_one_file(tmp_path: Path) -> None:
    proto = proto_of(tensor(WEIGHT))
    assert write(proto, tmp_path / "m.onnx", limit=proto.ByteSize()) == proto.ByteSize()
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4", "uint4"])
def test_types_that_numpy_lacks_are_read_from_files(tmp_path: Path, name: str) -> None:
    kind = getattr(onnx.TensorProto, name.upper().replace("_", ""))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    values = np.array([0, 1, 2, 3, 1, 0, 3], np.float32).astype(dtype)
    path = tmp_path / "m.onnx"
    proto = proto_of(tensor(WEIGHT), tensor(values, "odd"))
    onnx.save_model(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    model = Model.load(path)
    constant = model.graph.nodes[1].inputs[0]
    assert isinstance(constant._values, ExternalValues)
    assert constant.values.astype(np.float32).tolist() == values.astype(np.float32).tolist()
    written = model.to_proto().graph.initializer[1]
    assert written.raw_data == tensor(values).raw_data


def test_an_external_tensor_without_elements(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    proto = proto_of(tensor(WEIGHT), tensor(np.zeros((0, 3), np.float32), "none"))
    onnx.save_model(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert Model.load(path).graph.nodes[1].inputs[0].values.shape == (0, 3)


def refusal(path: Path) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        Model.load(path)
    assert caught.value.diagnostic.code == "M003"
    return caught.value.diagnostic


def test_a_missing_file_is_named(stored: Path) -> None:
    (stored.parent / "m.data").unlink()
    diagnostic = refusal(stored)
    assert diagnostic.place == str(stored.parent / "m.data")
    assert diagnostic.message == "`w` lies in a file that is missing"


def test_a_file_that_is_too_short_is_noticed_before_any_work(stored: Path) -> None:
    data = stored.parent / "m.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert refusal(stored).message == "`w` ends at byte 4,096, but its file has 4,095"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "/etc/passwd", "points outside of the model's folder"),
        ("location", "../m.data", "points outside of the model's folder"),
        ("location", "", "lies in a file that is missing"),
        ("offset", "many", "has an offset or a length that is no number"),
        ("offset", "-4", "takes 4,096 bytes, but the model says 4,096 at byte -4"),
        ("length", "16", "takes 4,096 bytes, but the model says 16 at byte 0"),
    ],
)
def test_a_wrong_reference_is_refused(stored: Path, key: str, value: str, message: str) -> None:
    proto = onnx.load(stored, load_external_data=False)
    entries = {entry.key: entry.value for entry in proto.graph.initializer[0].external_data} | {key: value}
    del proto.graph.initializer[0].external_data[:]
    for name, text in entries.items():
        proto.graph.initializer[0].external_data.add(key=name, value=text)
    stored.write_bytes(proto.SerializeToString())
    assert refusal(stored).message.endswith(message)


def test_the_size_of_a_model_is_known_even_if_protobuf_cannot_tell() -> None:
    proto = proto_of(tensor(WEIGHT))
    assert exceeds(proto, proto.ByteSize() - 1)
    assert not exceeds(proto, proto.ByteSize())

    class Huge:
        """What a protobuf above 2 GiB does."""

        graph = onnx.GraphProto()

        def ByteSize(self) -> int:  # noqa: N802
            raise EncodeError("Failed to serialize proto")

    assert exceeds(Huge(), PROTOBUF_LIMIT)  # type: ignore[arg-type]
