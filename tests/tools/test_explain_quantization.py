"""--explain-quantization: which layers of a quantized model lose the accuracy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import numpy as np
import pytest
from small_graphs import samples, small_net

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.report.quantization import SCHEMA

Run = Callable[..., CompletedProcess[str]]
Files = tuple[Path, Path, Path]
QUANTIZE = "-passes=quantize<guard=false>"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A float model, the same quantized, and data."""
    model = small_net()
    model.save(tmp_path / "float.onnx")
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    model.save(tmp_path / "int8.onnx")
    np.save(tmp_path / "x.npy", samples())
    return tmp_path / "float.onnx", tmp_path / "int8.onnx", tmp_path / "x.npy"


def test_float_model_is_quantized_first(run: Run, files: Files) -> None:
    done = run(files[0], "--explain-quantization", QUANTIZE, "--data", files[2])
    assert done.returncode == 0
    assert "Conv c2" in done.stdout and "QLinearConv" in done.stdout
    assert "dB simulated" in done.stdout


def test_quantized_model_is_explained_as_it_is(run: Run, files: Files, tmp_path: Path) -> None:
    done = run(files[1], "--explain-quantization", "--data", files[2], "--json", tmp_path / "q.json")
    assert done.returncode == 0
    assert "Conv c2" in done.stdout and "without its Q/DQ" in done.stderr
    document = json.loads((tmp_path / "q.json").read_text())
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert document["pipeline"] is None and document["samples"] == 16
    assert {layer["node"] for layer in document["layers"]} >= {"c1", "c2", "p", "f"}


def test_operators_on_integers_are_read_as_qdq(run: Run, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float s = {0.02}, uint8 z = {128}, int8[2,2,1,1] w = {127, 2, -90, 30}, float v = {0.01}, int8 u = {0}> {
        q = QuantizeLinear(x, s, z)
        c = QLinearConv(q, s, z, w, v, u, s, z)
        y = DequantizeLinear(c, s, z)
    }"""
    (tmp_path / "q.onnxtxt").write_text(text)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(-2, 2, (4, 2, 4, 4)).astype(np.float32))
    done = run("q.onnxtxt", "--explain-quantization", "--data", "x.npy", "--json", "-")
    assert done.returncode == 0
    assert {layer["op"] for layer in json.loads(done.stdout)["layers"]} == {"input", "Conv"}


def test_products_quantized_at_run_time_are_in_the_table(run: Run, files: Files, tmp_path: Path) -> None:
    """As they are: a model that has nothing but those is not quantized once more."""
    done = run(files[0], "-passes=quantize-dynamic<smallest=1;guard=false>", "--data", files[2], "-o", "dynamic.onnx")
    assert done.returncode == 0, done.stderr
    done = run("dynamic.onnx", "--explain-quantization", "--data", files[2], "--json", "-")
    assert done.returncode == 0 and "warning" not in done.stderr
    document = json.loads(done.stdout)
    assert document["pipeline"] is None and [layer["op"] for layer in document["layers"]] == ["MatMul"]
    assert document["layers"][0]["alone_sqnr_db"] < 60


def test_scales_computed_at_run_time_are_warned_about(run: Run, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,4] x) => (uint8[1,4] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }"""
    (tmp_path / "d.onnxtxt").write_text(text)
    np.save(tmp_path / "x.npy", np.ones((2, 4), np.float32))
    done = run("d.onnxtxt", "--explain-quantization", "-O1", "--data", "x.npy")
    assert "is not in the table: stays: its scale is computed at run time" in done.stderr
    assert "nothing is quantized" in done.stdout


def test_json_on_stdout_is_nothing_but_json(run: Run, files: Files) -> None:
    done = run(files[0], "--explain-quantization", QUANTIZE, "--data", files[2], "--json", "-")
    document = json.loads(done.stdout)
    assert document["pipeline"] == "quantize<guard=false>"
    assert all(layer["weights_sqnr_db"] for layer in document["layers"] if layer["op"] == "Conv")


def test_level_is_o2_by_default(run: Run, files: Files) -> None:
    done = run(files[0], "--explain-quantization", "--data", files[2], "--json", "-", "--goal", "size")
    assert "store-weights" in json.loads(done.stdout)["pipeline"]


def test_nothing_quantized(run: Run, files: Files) -> None:
    done = run(files[0], "--explain-quantization", "-O1", "--data", files[2])
    assert done.returncode == 0 and "nothing is quantized" in done.stdout


def test_needs_data(run: Run, files: Files) -> None:
    done = run(files[1], "--explain-quantization")
    assert done.returncode == 2 and "P006" in done.stderr and "--data" in done.stderr


def test_writes_no_model(run: Run, files: Files) -> None:
    done = run(files[0], "--explain-quantization", "--data", files[2], "-o", "out.onnx")
    assert done.returncode == 2 and "writes no model" in done.stderr


def test_command_changes_nothing(run: Run, files: Files) -> None:
    before = files[1].read_bytes()
    run(files[1], "--explain-quantization", "--data", files[2])
    assert files[1].read_bytes() == before and Model.load(files[1]).opset == 17
