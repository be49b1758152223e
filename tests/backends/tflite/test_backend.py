"""The TFLite back end as a whole: options, what is in the file, what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import pruna_ir as pi
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.data import Dataset
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Artifact, parse_backends
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

pytest.importorskip("ai_edge_litert")

from onnx_text import model_from, weight

from pruna_ir.backends.tflite import writer
from pruna_ir.backends.tflite.session import LiteSession, metadata_entries

NET = """g (float[n,3,8,8] image) => (float[n,4] scores) {
    c = Conv <pads = [1,1,1,1]> (image, w, b)
    r = Relu (c)
    p = GlobalAveragePool (r)
    f = Flatten (p)
    scores = Gemm (f, head)
}"""
IMAGES = weight(32, 3, 8, 8, seed=5)


def net() -> Model:
    return model_from(NET, w=weight(8, 3, 3, 3), b=weight(8, seed=1), head=weight(8, 4, seed=2))


def quantized(target: str = "tflite") -> Model:
    model = net()
    PassManager.parse("quantize<guard=false>").run(model, data=Dataset.of(IMAGES), target=target)
    return model


def written(folder: Path, model: Model, text: str = "tflite", data: Any = IMAGES) -> tuple[Artifact, LiteSession]:
    artifact = pi.emit(model, text, folder / "model.tflite", data=data)
    return artifact, LiteSession(artifact.path)


def expected(model: Model, images: np.ndarray) -> np.ndarray:
    from pruna_ir.runtime.session import Session

    return Session(model, optimize=False).run({"image": images})["scores"]


def test_float_file(tmp_path: Path) -> None:
    artifact, session = written(tmp_path, net())
    assert [check.name for check in artifact.checks] == ["loads", "scales", "xnnpack", "kernels"]
    found = session.run({"image": IMAGES})["scores"]
    np.testing.assert_allclose(found, expected(net(), IMAGES), rtol=1e-5, atol=1e-5)


def test_int8_file_has_the_scales_of_the_model_and_its_numbers(tmp_path: Path) -> None:
    artifact, session = written(tmp_path, quantized())
    checks = {check.name: check.result for check in artifact.checks}
    assert "bit-identical" in checks["scales"] and "`scores` 0 steps" in checks["xnnpack"]
    np.testing.assert_array_equal(session.run({"image": IMAGES})["scores"], expected(quantized(), IMAGES))
    codes = [code for code, _ in session.operators()]
    assert codes.count("QUANTIZE") == codes.count("DEQUANTIZE") == 1


def test_channels_last_at_the_border(tmp_path: Path) -> None:
    _, session = written(tmp_path, net(), "tflite<io=nhwc>")
    assert session.native.get_input_details()[0]["shape"].tolist() == [1, 8, 8, 3]
    assert "TRANSPOSE" not in [code for code, _ in session.operators()]
    found = session.run({"image": IMAGES})["scores"]
    np.testing.assert_allclose(found, expected(net(), IMAGES), rtol=1e-5, atol=1e-5)


def test_channels_first_or_last_where_the_model_has_them_last(tmp_path: Path) -> None:
    text = """g (float[n,8,8,3] image) => (float[n,4] scores) {
        t = Transpose <perm = [0,3,1,2]> (image)
        c = Conv <pads = [1,1,1,1]> (t, w)
        p = GlobalAveragePool (c)
        scores = Flatten (p)
    }"""
    model, images = model_from(text, w=weight(4, 3, 3, 3)), IMAGES.transpose(0, 2, 3, 1)
    for io, shape in (("onnx", [1, 8, 8, 3]), ("nhwc", [1, 8, 8, 3]), ("nchw", [1, 3, 8, 8])):
        _, session = written(tmp_path, model, f"tflite<io={io}>", data=images)
        assert session.native.get_input_details()[0]["shape"].tolist() == shape
        assert [code for code, _ in session.operators()].count("TRANSPOSE") == (io == "nchw")
        found = session.run({"image": images})["scores"]
        np.testing.assert_allclose(found, expected(model, images), rtol=1e-5, atol=1e-5)


def test_integers_at_the_border(tmp_path: Path) -> None:
    _, session = written(tmp_path, quantized(), "tflite<io-dtype=int8>")
    details = [*session.native.get_input_details(), *session.native.get_output_details()]
    assert [detail["dtype"] for detail in details] == [np.int8, np.int8]
    assert {"QUANTIZE", "DEQUANTIZE"}.isdisjoint(code for code, _ in session.operators())
    np.testing.assert_array_equal(session.run({"image": IMAGES})["scores"], expected(quantized(), IMAGES))


def test_a_batch_of_several(tmp_path: Path) -> None:
    _, session = written(tmp_path, net(), "tflite<batch=4>")
    assert session.native.get_input_details()[0]["shape"].tolist() == [4, 3, 8, 8]
    found = session.run({"image": IMAGES[:6]})["scores"]
    np.testing.assert_allclose(found, expected(net(), IMAGES[:6]), rtol=1e-5, atol=1e-5)


def test_weights_in_half_precision(tmp_path: Path) -> None:
    model = model_from("g (float[n,64] image) => (float[n,64] scores) { scores = MatMul (image, w) }", w=weight(64, 64))
    rows = weight(8, 64, seed=4)
    plain, _ = written(tmp_path, model, data=rows)
    halved, session = written(tmp_path, model, "tflite<dtype=float16>", data=rows)
    assert plain.bytes - halved.bytes > 64 * 64 * 2 - 500
    np.testing.assert_allclose(session.run({"image": rows})["scores"], expected(model, rows), atol=2e-2)


def test_weights_in_int8(tmp_path: Path) -> None:
    model = model_from("g (float[n,64] image) => (float[n,64] scores) { scores = MatMul (image, w) }", w=weight(64, 64))
    rows = weight(8, 64, seed=4)
    artifact, session = written(tmp_path, model, "tflite<dtype=int8>", data=rows)
    assert artifact.bytes < 64 * 64 * 2
    wanted = expected(model, rows)
    assert np.abs(session.run({"image": rows})["scores"] - wanted).max() < 0.02 * np.ptp(wanted)


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    first, _ = written(tmp_path, quantized())
    second, _ = written(tmp_path, quantized())
    assert first.sha256 == second.sha256


def test_signature_and_metadata(tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("a\nb\nc\nd\n")
    preprocessing = Preprocessing(color="RGB", scale=1 / 255, mean=(0.5,), std=(0.25,))
    data = Dataset.from_arrays((IMAGES[:, :, :, :] * 0 + 3).transpose(0, 2, 3, 1), preprocessing=preprocessing)
    artifact, session = written(tmp_path, net(), f'tflite<labels="{labels}">', data=data)
    assert session.native.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["scores"]}}
    content = artifact.path.read_bytes()
    entry = metadata_entries(content)["TFLITE_METADATA"]
    assert entry[4:8] == b"M001" and b"labels.txt" in entry
    assert np.array([127.5], np.float32).tobytes() in entry and np.array([63.75], np.float32).tobytes() in entry
    assert content.endswith(b"\x00\x00") and b"a\nb\nc\nd\n" in content


def test_labels_that_fit_no_output(tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("a\nb\nc\n")
    with pytest.raises(PrunaError, match=r"D007.*there are 3 labels"):
        written(tmp_path, net(), f'tflite<labels="{labels}">')
    with pytest.raises(PrunaError, match="D001"):
        written(tmp_path, net(), 'tflite<labels="missing.txt">')


def test_all_operators_that_cannot_be_written_are_told_at_once(tmp_path: Path) -> None:
    text = """g (float[2,3] x, float[2,2] m) => (float y, int64[r,c] i, float[2,3] z) {
        y = Det (m)
        i = NonZero (x)
        z = Relu (x)
    }"""
    with pytest.raises(PrunaError) as caught:
        pi.emit(model_from(text), "tflite", tmp_path / "m.tflite")
    diagnostic = caught.value.diagnostic
    assert diagnostic.code == "E004" and len(diagnostic.notes) == 2 and diagnostic.help
    assert "(Det, reads [2, 2])" in diagnostic.notes[0] and "(NonZero, reads [2, 3])" in diagnostic.notes[1]
    assert len(str(caught.value).splitlines()) <= 24 and not list(tmp_path.iterdir())


def test_shapes_that_stay_open(tmp_path: Path) -> None:
    model = model_from("g (float[1,3,h,w] x) => (float[1,3,h,w] y) { y = Relu (x) }")
    with pytest.raises(PrunaError, match=r"E00[45]") as caught:
        pi.emit(model, "tflite", tmp_path / "m.tflite")
    assert "h" in str(caught.value) and "fixed" in str(caught.value)


def test_operators_of_other_domains(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Gelu", ["x"], ["h"], domain="com.microsoft"),
        onnx.helper.make_node("FusedGemm", ["h", "w", "b"], ["y"], "fused", domain="com.microsoft", activation="Relu"),
    ]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 4]) for name in "xy"]
    constants = [
        onnx.numpy_helper.from_array(weight(4, 4), "w"),
        onnx.numpy_helper.from_array(weight(4, seed=1), "b"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = Model.load(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))
    with pytest.raises(PrunaError, match=r"E004(.|\n)*com.microsoft.FusedGemm"):
        pi.emit(model, "tflite", tmp_path / "m.tflite")


def test_files_larger_than_the_format_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LARGEST_FILE", 2**20 + 1000)
    with pytest.raises(PrunaError, match=r"E006(.|\n)*float16"):
        pi.emit(net(), "tflite", tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_scales_that_litert_has_no_kernel_for(tmp_path: Path) -> None:
    text = """g (float[1,4] x) => (float[1,4] y) {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
        p = Softmax <axis = 1> (d)
        o = QuantizeLinear (p, t, z) y = DequantizeLinear (o, t, z)
    }"""
    zero, s, t = np.array(0, np.int8), np.array(0.1, np.float32), np.array(0.02, np.float32)
    with pytest.raises(PrunaError, match=r"Q001(.|\n)*fixed-scale") as caught:
        pi.emit(model_from(text, z=zero, s=s, t=t), "tflite", tmp_path / "m.tflite")
    assert "lint-qdq" in caught.value.diagnostic.help


def test_models_that_were_quantized_in_uint8_are_written_in_int8(tmp_path: Path) -> None:
    model = quantized("ort-x86-vnni")
    _, session = written(tmp_path, model)
    np.testing.assert_allclose(session.run({"image": IMAGES})["scores"], expected(model, IMAGES), atol=1e-6)


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ai_edge_litert" else find(name, *rest)
    )
    with pytest.raises(PrunaError, match=r"X001(.|\n)*pruna-ir\[tflite\]"):
        pi.emit(net(), "tflite", tmp_path / "m.tflite")


def test_options_print_and_parse() -> None:
    text = "tflite<io=nhwc;dtype=float16;io-dtype=int8;batch=2>"
    (backend,) = parse_backends(text)
    assert backend == TfliteBackend(io="nhwc", dtype="float16", io_dtype="int8", batch=2) and str(backend) == text


def test_the_original_in_the_same_runtime() -> None:
    session = TfliteBackend(io_dtype="int8").original(net())
    np.testing.assert_allclose(session.run({"image": IMAGES})["scores"], expected(net(), IMAGES), rtol=1e-5, atol=1e-5)
