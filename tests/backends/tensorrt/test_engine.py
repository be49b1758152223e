"""Engines that TensorRT for RTX builds, which it does without a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx_text import model_from, weight

import pruna_ir as pi
from pruna_ir.backends.tensorrt import proof
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.backends.tensorrt.writer import write_bundle
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Artifact, Emitted
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

pytest.importorskip("tensorrt_rtx")

NET = """g (float[{n},16,8,8] x) => (float[{n},16,8,8] y) {{
    c = Conv <pads = [1,1,1,1]> (x, w)
    r = Relu (c)
    d = Conv <pads = [1,1,1,1]> (r, v)
    s = Add (d, r)
    y = Relu (s)
}}"""


def net(batch: int | str = 1) -> Model:
    return model_from(NET.format(n=batch), w=weight(16, 16, 3, 3), v=weight(16, 16, 3, 3, seed=1))


def quantized(batch: int | str = 1) -> Model:
    model = net(batch)
    data = weight(8, 16, 8, 8, seed=2)
    PassManager.parse("quantize<guard=false>").run(model, data=data, target="tensorrt")
    return model


def engine(artifact: Artifact) -> str:
    return next(check.result for check in artifact.checks if check.name == "engine")


@pytest.mark.parametrize("batch", [1, "n"])
def test_quantized_layers_run_in_8_bits(tmp_path: Path, batch: int | str) -> None:
    found = engine(pi.emit(quantized(batch), "tensorrt<build=always>", tmp_path / "bundle"))
    assert found.startswith("built by tensorrt-rtx ")
    assert found.endswith("2 of 2 layers that are quantized run in 8 bits")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_network(tmp_path: Path, precision: str) -> None:
    found = engine(pi.emit(net("n"), f"tensorrt<precision={precision}>", tmp_path / "bundle"))
    assert found.startswith("built by") and "8 bits" not in found


def test_weights_in_4_bits(tmp_path: Path) -> None:
    text = "g (float[2,128] x) => (float[2,64] y) { y = MatMul (x, a) }"
    artifact = pi.emit(model_from(text, a=weight(128, 64)), "tensorrt<precision=int4-weights>", tmp_path / "bundle")
    assert engine(artifact).startswith("built by")


@pytest.mark.parametrize("precision", ["int8", "int8+fp16", "fp8"])
def test_8_bits_of_all_kinds(tmp_path: Path, precision: str) -> None:
    found = engine(pi.emit(quantized(), f"tensorrt<precision={precision}>", tmp_path / "bundle"))
    assert found.endswith("2 of 2 layers that are quantized run in 8 bits")


def test_networks_to_compare_with_are_built(tmp_path: Path) -> None:
    folder = pi.emit(quantized("n"), "tensorrt<build=never>", tmp_path / "bundle").path
    for name in ("fp16", "fp32"):
        shutil.copy(folder / "compare" / f"{name}.onnx", folder / "model.onnx")
        types = {kind for layer in proof.build(folder).layers for kind in layer.inputs}
        assert ("Half" in types) == (name == "fp16") and "Int8" not in types


def test_profiles_from_options_and_data(tmp_path: Path) -> None:
    """An open batch and an open length: the one from an option, the other from the data."""
    text = "g (float[n,t,16] x) => (float[n,t,16] y) { m = MatMul (x, w) r = Relu (m) y = MatMul (r, v) }"
    model = model_from(text, w=weight(16, 16), v=weight(16, 16, seed=1))
    data = [weight(1, length, 16, seed=length) for length in (3, 9, 4)]
    PassManager.parse("quantize<guard=false>").run(model, data=iter(data), target="tensorrt")
    artifact = pi.emit(model, "tensorrt<build=always;batch=[2,4,8]>", tmp_path / "bundle", data=iter(data))
    profile = json.loads((artifact.path / "profiles.json").read_text())["x"]
    assert (profile["min"], profile["opt"], profile["max"]) == ([2, 3, 16], [4, 4, 16], [8, 9, 16])
    assert engine(artifact).endswith("2 of 2 layers that are quantized run in 8 bits")


def test_a_layer_that_is_built_in_float_is_an_error(tmp_path: Path) -> None:
    """A weight with a scale for each input channel: the rules refuse it, and the builder takes it, in float."""
    text = "g (float[1,16,8,8] x) => (float[1,16,8,8] y) <float s = {0.1}, int8 z = {0}> {" + (
        "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) "
        "wd = DequantizeLinear <axis = 1> (w, ws) y = Conv <pads = [1,1,1,1]> (d, wd) }"
    )
    weights = np.random.default_rng(0).integers(-127, 127, (16, 16, 3, 3)).astype(np.int8)
    model = model_from(text, w=weights, ws=np.full(16, 0.01, np.float32))
    backend = TensorrtBackend()
    with pytest.raises(PrunaError) as failure:
        backend.legalize(model)
    assert "weight-axis" in str(failure.value)
    model.graph.nodes[-1].name = "conv"
    write_bundle(tmp_path / "bundle", {"int8": model}, layers(model.graph), {})
    with pytest.raises(PrunaError) as failure:
        backend.check(Emitted(backend, model, tmp_path / "bundle"), [])
    assert failure.value.diagnostic.code == "E002"
    assert failure.value.diagnostic.notes[0].startswith("`conv` (Conv): it is built as correlation of Float")


def test_what_the_parser_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    """The rules refuse it too; here they are not asked."""
    model = model_from("g (float[4] x, bool[4] b) => (float[n] y) { y = Compress (x, b) }")
    write_bundle(tmp_path / "bundle", {"fp32": model}, [], {})
    with pytest.raises(PrunaError) as failure:
        proof.build(tmp_path / "bundle")
    assert failure.value.diagnostic.code == "E002"
    assert any("Compress" in note for note in failure.value.diagnostic.notes)
