"""Sessions: values by name, refusals as diagnostics, models too large for one protobuf."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model, TensorSpec, external
from pruna_ir.model.save import write
from pruna_ir.runtime import Session
from pruna_ir.runtime.session import shorten

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 3] y, float[N, 3] z)
<float[3] bias = {1.0, 2.0, 3.0}>
{
    y = Relu (x)
    z = Add (y, bias)
}
"""


@pytest.fixture
def proto() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


FEEDS = {"x": np.array([[-1.0, 0.5, 2.0]], np.float32)}


def test_run_returns_every_output_by_name(proto: onnx.ModelProto) -> None:
    values = Session(proto).run(FEEDS)
    assert list(values) == ["y", "z"]
    np.testing.assert_array_equal(values["z"], [[1.0, 2.5, 5.0]])
    assert list(Session(proto).run(FEEDS, ["z"])) == ["z"]


def test_every_form_of_a_model_runs_alike(proto: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    for source in (proto, proto.SerializeToString(), path, str(path), Model.load(proto)):
        for optimize in (True, False):
            np.testing.assert_array_equal(Session(source, optimize=optimize).run(FEEDS)["z"], [[1.0, 2.5, 5.0]])


def test_specs_keep_symbolic_dimensions(proto: onnx.ModelProto) -> None:
    session = Session(proto)
    assert session.inputs == (TensorSpec("x", np.dtype(np.float32), ("N", 3)),)
    assert [spec.name for spec in session.outputs] == ["y", "z"]


def test_a_model_above_the_protobuf_limit_goes_through_a_file(
    proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full((400, 3), 2.0, np.float32), "weights"))
    proto.graph.node.append(onnx.helper.make_node("Add", ["weights", "x"], ["w"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [400, 3]))
    before = proto.SerializeToString()
    monkeypatch.setattr(external, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written: list[str] = []

    def spy(proto: onnx.ModelProto, path: Path, *, limit: int) -> int:
        size = write(proto, path, limit=limit)
        written.extend(file.name for file in path.parent.iterdir())
        return size

    monkeypatch.setattr("pruna_ir.runtime.session.write", spy)
    session = Session(proto)
    assert sorted(written) == ["model.onnx", "model.onnx.data"]
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(session.run(FEEDS)["w"], np.tile(FEEDS["x"] + 2, (400, 1)))
    assert proto.SerializeToString() == before


def test_a_refused_model_is_a_diagnostic(proto: onnx.ModelProto, capfd: pytest.CaptureFixture[str]) -> None:
    proto.graph.node[0].op_type = "Frobnicate"
    with pytest.raises(PrunaError) as failure:
        Session(proto)
    assert failure.value.diagnostic.code == "M009"
    assert "No Op registered for Frobnicate" in str(failure.value)
    assert "ONNXRuntimeError" not in str(failure.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_and_bytes_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as failure:
        Session(tmp_path / "none.onnx")
    assert failure.value.diagnostic.code == "M001"
    with pytest.raises(PrunaError) as failure:
        Session(b"not a protobuf")
    assert failure.value.diagnostic.code == "M009"


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": np.zeros((1, 3))}, "float64[1, 3]"),
        ({"x": np.zeros((1, 4), np.float32)}, "float32[1, 4]"),
        ({"x": np.zeros(3, np.float32)}, "float32[3]"),
        ({}, "missing"),
        ({**FEEDS, "q": np.zeros(1)}, "`q` is not an input"),
    ],
)
def test_feeds_that_do_not_fit(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(PrunaError) as failure:
        Session(proto).run(feeds)
    assert failure.value.diagnostic.code == "D003"
    assert said in str(failure.value)


def test_a_failure_inside_the_model_is_a_diagnostic(capfd: pytest.CaptureFixture[str]) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[N] x, int64[K] shape) => (float[M] y) { y = Reshape (x, shape) }
    """
    with pytest.raises(PrunaError) as failure:
        Session(onnx.parser.parse_model(text)).run({"x": np.zeros(4, np.float32), "shape": np.array([3])})
    assert failure.value.diagnostic.code == "M009"
    assert "cannot be reshaped" in str(failure.value)
    assert ".cc" not in str(failure.value)
    assert capfd.readouterr() == ("", "")


def test_long_messages_are_cut() -> None:
    assert len(shorten(RuntimeError("word " * 1000))) == 300
