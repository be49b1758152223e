from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_sparse_tensor, make_tensor_value_info

from pruna_ir.model import Model

TYPES = sorted(set(TensorProto.DataType.keys()) - {"UNDEFINED"})
# An odd number of elements: types of less than a byte do not fill the last one.
COUNT = 5


def stored(name: str) -> tuple[onnx.TensorProto, Model]:
    """A tensor of a type, and a model that hands it on."""
    kind = TensorProto.DataType.Value(name)
    if name == "STRING":
        tensor = onnx.numpy_helper.from_array(np.array(["a", "", "é", "two words", "e"], object), "c")
    else:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        tensor = onnx.numpy_helper.from_array(np.array([0, 1, 1, 0, 1]).astype(dtype), "c")
    graph = make_graph(
        [make_node("Identity", ["c"], ["y"])],
        "g",
        [make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [make_tensor_value_info("y", kind, [COUNT])],
        [tensor],
    )
    return tensor, Model.load(make_model(graph, opset_imports=[make_opsetid("", 23)], ir_version=11))


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_survives(name: str, read: bool) -> None:
    tensor, model = stored(name)
    constant = model.graph.nodes[0].inputs[0]
    if read:
        assert constant.values.shape == (COUNT,)
        assert constant.values.dtype == constant.dtype
    for candidate in (model, model.clone()):
        (written,) = candidate.to_proto().graph.initializer
        assert (written.name, written.data_type) == ("c", tensor.data_type)
        found, wanted = onnx.numpy_helper.to_array(written), onnx.numpy_helper.to_array(tensor)
        if name == "STRING":
            assert found.tolist() == wanted.tolist()
        else:
            assert found.tobytes() == wanted.tobytes()
    (output,) = model.outputs()
    assert output.dtype == constant.dtype


def test_reading_a_type_that_numpy_lacks_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _ = stored("BFLOAT16")[1].graph.nodes[0].inputs[0].values
    assert capsys.readouterr() == ("", "")


def with_sparse(raw: bool, linear: bool) -> Model:
    """x + a sparse [2, 3] matrix that holds 1.5 at (0, 1) and 2.5 at (1, 2)."""
    filled = np.array([1.5, 2.5], np.float32)
    values = (
        onnx.numpy_helper.from_array(filled, "s")
        if raw
        else onnx.helper.make_tensor("s", TensorProto.FLOAT, [2], filled)
    )
    places = np.array([1, 5] if linear else [[0, 1], [1, 2]], np.int64)
    sparse = make_sparse_tensor(values, onnx.numpy_helper.from_array(places), [2, 3])
    value = [make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = make_graph([make_node("Add", ["x", "s"], ["y"])], "g", value[:1], value[1:], sparse_initializer=[sparse])
    return Model.load(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8))


DENSE = [[0, 1.5, 0], [0, 0, 2.5]]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_sparse_weights_stay_sparse_until_they_are_read(raw: bool, linear: bool) -> None:
    model = with_sparse(raw, linear)
    constant = model.graph.nodes[0].inputs[1]
    assert (constant.dtype, list(constant.shape)) == (np.float32, [2, 3])
    fingerprint = model.fingerprint()
    _ = model.clone().graph.nodes[0].inputs[1].values
    assert model.fingerprint() == fingerprint
    constant.name = "renamed"
    (sparse,) = model.to_proto().graph.sparse_initializer
    assert sparse.values.name == "renamed"
    assert constant.values.dtype == np.float32
    assert constant.values.tolist() == DENSE
    graph = model.to_proto().graph
    assert not graph.sparse_initializer
    assert onnx.numpy_helper.to_array(graph.initializer[0]).tolist() == DENSE
    constant.name = "s"
    assert model.fingerprint() == fingerprint  # the same model, stored otherwise


def test_text_made_by_a_pass_is_written() -> None:
    model = stored("STRING")[1]
    model.graph.nodes[0].inputs[0].values = np.array(["new", "words"], object)
    (written,) = model.to_proto().graph.initializer
    assert list(written.string_data) == [b"new", b"words"]


def test_constants_of_packed_types_made_by_a_pass_are_written() -> None:
    model = stored("INT4")[1]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
    model.graph.nodes[0].inputs[0] = gs.Constant("new", np.array([-8, 7, 1]).astype(dtype))
    (written,) = model.to_proto().graph.initializer
    assert onnx.numpy_helper.to_array(written).astype(int).tolist() == [-8, 7, 1]
    assert len(written.raw_data) == 2
