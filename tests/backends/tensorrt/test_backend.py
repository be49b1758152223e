"""The TensorRT back end as a whole: what is in the folder, what is checked, what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_text import model_from, weight

import pruna_ir as pi
from pruna_ir.backends.tensorrt import check, proof
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.writer import trtexec
from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Artifact, Check, Emitted, Feeds, parse_backends
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.tools.pruna_opt import main

NET = """g (float[n,16,8,8] image) => (float[n,4] scores) {
    c = Conv <pads = [1,1,1,1]> (image, w, b)
    r = Relu (c)
    p = GlobalAveragePool (r)
    f = Flatten (p)
    scores = Gemm (f, head)
}"""
IMAGES = weight(16, 16, 8, 8, seed=5)


def net() -> Model:
    return model_from(NET, w=weight(16, 16, 3, 3), b=weight(16, seed=1), head=weight(16, 4, seed=2))


def quantized() -> Model:
    model = net()
    PassManager.parse("quantize<guard=false>").run(model, data=Dataset.of(IMAGES), target="tensorrt")
    return model


def written(folder: Path, model: Model, options: str = "build=never") -> Artifact:
    return pi.emit(model, f"tensorrt<{options}>", folder / "bundle", data=IMAGES)


def checks(artifact: Artifact) -> dict[str, str]:
    return {found.name: found.result for found in artifact.checks}


def test_what_is_in_a_bundle(tmp_path: Path) -> None:
    artifact = written(tmp_path, quantized())
    names = sorted(path.name for path in artifact.path.iterdir())
    assert names == ["README.md", "build_engine.py", "compare", "model.onnx", "precision.json", "profiles.json"]
    assert artifact.bytes == (artifact.path / "model.onnx").stat().st_size
    described = json.loads((artifact.path / "precision.json").read_text())
    assert described["networks"] == {"int8": "model.onnx", "fp16": "compare/fp16.onnx", "fp32": "compare/fp32.onnx"}
    assert {layer["op"]: layer["precision"] for layer in described["layers"]} == {"Conv": "int8", "Gemm": "fp32"}
    profile = {"min": [1, 16, 8, 8], "opt": [8, 16, 8, 8], "max": [32, 16, 8, 8]}
    assert json.loads((artifact.path / "profiles.json").read_text()) == {"image": profile}
    compile((artifact.path / "build_engine.py").read_text(), "build_engine.py", "exec")


def test_the_readme_has_the_command(tmp_path: Path) -> None:
    text = (written(tmp_path, quantized()).path / "README.md").read_text()
    assert "--minShapes=image:1x16x8x8" in text and "--maxShapes=image:32x16x8x8" in text
    assert "the network in int8" in text and "1 in int8, 1 in fp32" in text and "$" not in text


def test_command_for_fixed_shapes() -> None:
    assert "Shapes" not in trtexec({}) and "--onnx=model.onnx" in trtexec({})


def test_scales_of_the_network_are_the_models_bit_for_bit(tmp_path: Path) -> None:
    def scales(model: Model) -> list[bytes]:
        nodes = [node for node in model.graph.nodes if node.op in ("QuantizeLinear", "DequantizeLinear")]
        return [np.asarray(node.inputs[1].values).tobytes() for node in nodes]

    model = quantized()
    assert sorted(scales(Model.load(written(tmp_path, model).path / "model.onnx"))) == sorted(scales(model))


def test_the_network_computes_what_the_model_does(tmp_path: Path) -> None:
    model = quantized()
    artifact = written(tmp_path, model)
    feeds = {"image": IMAGES[:3]}
    expected = Session(model, optimize=False).run(feeds)["scores"]
    found = TensorrtBackend().session(artifact.path).run(feeds)["scores"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.ptp(expected))
    assert checks(artifact)["outputs"] == "bit-equal to the model's in ONNX Runtime on 4 samples"
    assert checks(artifact)["engine"] == "not built: not asked for"


@pytest.mark.parametrize(
    ("precision", "label"),
    [("int8", "int8"), ("int8+fp16", "int8"), ("fp8", "fp8"), ("fp16", "fp16")],
)
def test_networks_to_compare_with(tmp_path: Path, precision: str, label: str) -> None:
    artifact = written(tmp_path, net() if precision == "fp16" else quantized(), f"build=never;precision={precision}")
    networks = json.loads((artifact.path / "precision.json").read_text())["networks"]
    others = {"fp16": "compare/fp16.onnx", "fp32": "compare/fp32.onnx"}
    assert networks == {**others, label: "model.onnx"} and next(iter(networks)) == label
    expected = TensorrtBackend().session(artifact.path).run({"image": IMAGES[:2]})["scores"]
    for file in others.values():
        if (artifact.path / file).exists():
            found = Session(artifact.path / file).run({"image": IMAGES[:2]})["scores"]
            np.testing.assert_allclose(found, expected, rtol=0, atol=0.1 * np.ptp(expected))
    single = Model.load(artifact.path / "compare/fp32.onnx")
    assert not {node.op for node in single.graph.nodes} & {"QuantizeLinear", "DequantizeLinear", "Cast"}
    assert {str(tensor.dtype) for tensor in single.graph.tensors().values()} <= {"float32", "int64"}


def test_weights_of_blocks_are_floats_in_what_they_are_compared_with(tmp_path: Path) -> None:
    model = model_from("g (float[2,128] x) => (float[2,64] y) { y = MatMul (x, a) }", a=weight(128, 64))
    folder = pi.emit(model, "tensorrt<build=never;precision=int4-weights>", tmp_path / "bundle").path
    networks = json.loads((folder / "precision.json").read_text())["networks"]
    assert list(networks) == ["int4-weights", "fp16", "fp32"]
    expected, *others = (Session(folder / file).run({"x": weight(2, 128, seed=1)})["y"] for file in networks.values())
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.ptp(expected))
    assert [node.op for node in Model.load(folder / networks["fp32"]).graph.nodes] == ["MatMul"]


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    artifact = written(tmp_path, quantized(), "build=never;compare=false")
    assert json.loads((artifact.path / "precision.json").read_text())["networks"] == {"int8": "model.onnx"}
    assert not (artifact.path / "compare").exists()


def test_a_network_that_there_is_in_single_precision_only(tmp_path: Path) -> None:
    model = model_from("g (float[4] x) => (float[4] y) { h = Celu (x) y = Relu (h) }")
    artifact = pi.emit(model, "tensorrt<build=never>", tmp_path / "bundle")
    networks = json.loads((artifact.path / "precision.json").read_text())["networks"]
    assert networks == {"fp32": "model.onnx", "fp16": "compare/fp16.onnx"}
    nodes = Model.load(artifact.path / "compare/fp16.onnx").graph.nodes
    assert [node.inputs[0].dtype for node in nodes if node.op == "Celu"] == [np.float32]


def test_a_float_network_is_called_by_its_precision(tmp_path: Path) -> None:
    described = json.loads((written(tmp_path, net(), "build=never;precision=fp16").path / "precision.json").read_text())
    assert described["networks"]["fp16"] == "model.onnx"
    assert {layer["precision"] for layer in described["layers"]} == {"fp16"}


def test_from_a_calibration_cache(tmp_path: Path) -> None:
    names = ("image", "c", "r", "p", "f")
    lines = ["TRT-8601-EntropyCalibration2", *(f"{name}: {struct.pack('>f', 0.03).hex()}" for name in names)]
    (tmp_path / "old.cache").write_text("\n".join(lines))
    cache = tmp_path / "old.cache"
    artifact = written(tmp_path, net(), f'build=never;precision=int8;cache="{cache}"')
    nodes = Model.load(artifact.path / "model.onnx").graph.nodes
    scales = {float(node.inputs[1].values) for node in nodes if node.op == "QuantizeLinear"}
    assert scales == {float(np.float32(0.03))}


def test_batch_and_profile_options(tmp_path: Path) -> None:
    text = "g (float[n,4,t] x) => (float[n,4,t] y) { y = Relu (x) }"
    artifact = pi.emit(model_from(text), "tensorrt<build=never;batch=[2,2,4];profile=[t:5:6:7]>", tmp_path / "bundle")
    found = json.loads((artifact.path / "profiles.json").read_text())["x"]
    assert found == {"min": [2, 4, 5], "opt": [2, 4, 6], "max": [4, 4, 7]}


def test_sizes_come_from_the_data(tmp_path: Path) -> None:
    text = "g (float[n,4,t] x) => (float[n,4,t] y) { y = Relu (x) }"
    data = [np.zeros((1, 4, length), np.float32) for length in (3, 9, 4)]
    artifact = pi.emit(model_from(text), "tensorrt<build=never>", tmp_path / "bundle", data=iter(data))
    found = json.loads((artifact.path / "profiles.json").read_text())["x"]
    assert (found["min"], found["opt"], found["max"]) == ([1, 4, 3], [8, 4, 4], [32, 4, 9])


def test_open_dimension_that_nothing_is_known_of(tmp_path: Path) -> None:
    text = "g (float[n,4,t] x) => (float[n,4,t] y) { y = Relu (x) }"
    with pytest.raises(PrunaError) as failure:
        pi.emit(model_from(text), "tensorrt<build=never>", tmp_path / "bundle")
    assert failure.value.diagnostic.code == "E005" and not (tmp_path / "bundle").exists()
    assert failure.value.diagnostic.notes == ("`t`: axis 2 of `x`",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("precision=bf16", "precision"),
        ("batch=[1,8]", "`batch` cannot be [1, 8]"),
        ("batch=[8,1,2]", "`batch` cannot be [8, 1, 2]"),
        ("batch=[0,1,2]", "must lie at or above 1"),
        ("profile=[n]", "`profile` cannot be `n`"),
    ],
)
def test_options_that_cannot_be(options: str, words: str) -> None:
    with pytest.raises(PrunaError) as failure:
        parse_backends(f"tensorrt<{options}>")
    assert failure.value.diagnostic.code == "P004" and words in str(failure.value)


def test_text_of_options_is_read_back() -> None:
    text = "tensorrt<precision=int8+fp16;batch=[1,2,4];profile=[t:1:2:3];build=never>"
    (backend,) = parse_backends(text)
    assert parse_backends(str(backend)) == (backend,)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "installed", lambda: False)
    with pytest.raises(PrunaError) as failure:
        TensorrtBackend(build="always").require_packages()
    assert failure.value.diagnostic.code == "X001" and "pruna-ir[tensorrt]" in failure.value.diagnostic.help
    TensorrtBackend().require_packages()


def test_no_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "installed", lambda: False)
    assert checks(written(tmp_path, net(), "build=installed"))["engine"] == "not built: tensorrt-rtx is not installed"


def test_only_a_bundle_is_replaced(tmp_path: Path) -> None:
    bundle = written(tmp_path, net()).path
    (bundle / "model.engine").write_bytes(b"of the old network")
    written(tmp_path, quantized())
    assert not (bundle / "model.engine").exists()
    (bundle / "precision.json").unlink()
    with pytest.raises(PrunaError) as failure:
        written(tmp_path, net())
    assert failure.value.diagnostic.code == "C003" and (bundle / "model.onnx").exists()


def test_plugins_are_told(tmp_path: Path) -> None:
    model = model_from("g (float[4] x) => (int64[1,n] y) { y = NonZero (x) }")
    artifact = pi.emit(model, "tensorrt<build=never>", tmp_path / "bundle")
    assert ["NonZero" in str(remark.reason) for remark in artifact.remarks] == [True]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net().save(tmp_path / "net.onnx")
    np.save(tmp_path / "images.npy", IMAGES)
    arguments = [str(tmp_path / "net.onnx"), "-O2", "--data", str(tmp_path / "images.npy")]
    assert main([*arguments, "--emit", "tensorrt<build=never>", "-o", f"{tmp_path / 'bundle'}/"]) == 0
    assert (tmp_path / "bundle" / "build_engine.py").exists()
    assert "tensorrt" in capsys.readouterr().err
    assert main([*arguments, "--emit", "onnx,tensorrt<build=never>", "-o", str(tmp_path / "both")]) == 0
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["model.onnx", "tensorrt"]
    assert (tmp_path / "both" / "tensorrt" / "build_engine.py").exists()


SCRIPTS = {
    "import sys; print('In node 3', file=sys.stderr); print('no kernel', file=sys.stderr); sys.exit(1)": (
        "TensorRT for RTX does not build the network",
        ("In node 3", "no kernel"),
    ),
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": (
        "TensorRT for RTX ended with SIGSEGV while it built the engine",
        (),
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_builder_that_refuses_or_dies(tmp_path: Path, script: str) -> None:
    (tmp_path / "build_engine.py").write_text(script)
    with pytest.raises(PrunaError) as failure:
        proof.build(tmp_path)
    message, notes = SCRIPTS[script]
    assert failure.value.diagnostic.code == "E002"
    assert (failure.value.diagnostic.message, failure.value.diagnostic.notes) == (message, notes)


def test_an_engine_that_does_not_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "build_engine.py").write_text("raise SystemExit('error: no device')")
    assert proof.run(tmp_path, {"x": np.zeros(2, np.float32)}) == "error: no device"


def test_an_engine_that_runs(tmp_path: Path) -> None:
    lines = [
        "import sys, numpy",
        "options = dict(zip(sys.argv[1::2], sys.argv[2::2]))",
        "with numpy.load(options['--feeds']) as feeds:",
        "    numpy.savez(options['--outputs'], y=feeds['x'] + 1)",
    ]
    (tmp_path / "build_engine.py").write_text("\n".join(lines))
    found = proof.run(tmp_path, {"x": np.zeros(2, np.float32)})
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["y"], [1, 1])


class Gpu:
    """What `proof.run` gives, in place of a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Callable[[Feeds], dict[str, np.ndarray] | str]) -> None:
        monkeypatch.setattr(check, "find_cuda", lambda: self)
        monkeypatch.setattr(proof, "run", lambda bundle, feeds: found(feeds))


def emitted(folder: Path, model: Model) -> Emitted:
    backend = TensorrtBackend(build="never")
    legal = backend.legalize(model)
    backend.emit(legal, folder / "bundle")
    return Emitted(backend, legal, folder / "bundle")


def test_outputs_on_a_gpu_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = emitted(tmp_path, net())
    Gpu(monkeypatch, lambda feeds: {name: 1.001 * value for name, value in network.reference.run(feeds).items()})
    (found,) = check.on_gpu(network, [{"image": IMAGES[:1]}])
    assert found.name == "gpu" and "of the outputs' range on 1 samples" in found.result


def test_other_outputs_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = emitted(tmp_path, net())
    Gpu(monkeypatch, lambda feeds: {name: -value for name, value in network.reference.run(feeds).items()})
    with pytest.raises(PrunaError) as failure:
        check.on_gpu(network, [{"image": IMAGES[:1]}])
    assert failure.value.diagnostic.code == "E002"


def test_a_gpu_that_the_engine_does_not_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = emitted(tmp_path, net())
    Gpu(monkeypatch, lambda feeds: "error: the engine cannot be loaded on this GPU")
    assert check.on_gpu(network, [{"image": IMAGES[:1]}]) == [
        Check("gpu", "not run: error: the engine cannot be loaded on this GPU")
    ]


def test_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = emitted(tmp_path, net())
    monkeypatch.setattr(check, "find_cuda", lambda: None)
    assert check.on_gpu(network, [{"image": IMAGES[:1]}]) == []
