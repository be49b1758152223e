"""The script that every bundle has, with modules in the place of TensorRT and of NVIDIA's driver."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorrt_stand_in import Driver, StandIn

from pruna_ir.backends.tensorrt.bundle import build_engine
from pruna_ir.backends.tensorrt.bundle.build_engine import Cuda, main

PROFILES = {"x": {"min": [1, 4], "opt": [8, 4], "max": [32, 4]}}
TEN: dict[str, Any] = {"version": "10.16.0", "strongly_typed": True}
ELEVEN: dict[str, Any] = {"version": "11.4.0"}
RTX: dict[str, Any] = {"name": "tensorrt_rtx", "version": "1.7.1", "strongly_typed": True}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build_engine, "HERE", tmp_path)
    network(tmp_path, "model.onnx", "int8")
    describe(tmp_path, {"int8": "model.onnx"})
    return tmp_path


def network(folder: Path, name: str, precision: str, batch: int = -1, **more: Any) -> None:
    shapes: dict[str, Any] = {"inputs": {"x": [batch, 4]}, "outputs": {"y": [-1 if batch == -1 else batch, 4]}}
    (folder / name).write_text(json.dumps({"precision": precision, **shapes, **more}))


def describe(folder: Path, networks: dict[str, str], profiles: object = PROFILES) -> None:
    (folder / "precision.json").write_text(json.dumps({"networks": networks}))
    (folder / "profiles.json").write_text(json.dumps(profiles))


def run(trt: StandIn, *arguments: str, gpu: bool = True) -> int:
    where = build_engine.HERE
    places = ["--engine", str(where / "model.engine"), "--timing-cache", str(where / "timing.cache")]
    return main([*places, *arguments], trt, Cuda(Driver()) if gpu else None)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine, "find_cuda", lambda: None)


@pytest.mark.parametrize(("generation", "flags"), [(TEN, 1 << 1), (ELEVEN, 0), (RTX, 1 << 1)])
def test_networks_are_strongly_typed_in_every_generation(bundle: Path, generation: Any, flags: int) -> None:
    trt = StandIn(**generation)
    assert run(trt) == 0
    assert trt.named("create_network") == [(flags,)]
    assert trt.named("set_shape") == [("x", (1, 4), (8, 4), (32, 4))]
    assert json.loads((bundle / "model.engine").read_text())["precision"] == "int8"


def test_fixed_shapes_have_no_profile(bundle: Path) -> None:
    network(bundle, "model.onnx", "int8", batch=2)
    describe(bundle, {"int8": "model.onnx"}, {})
    trt = StandIn()
    assert run(trt) == 0
    assert not trt.named("add_optimization_profile")


def test_open_dimension_without_profile(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(bundle, {"int8": "model.onnx"}, {})
    assert run(StandIn()) == 1
    assert "profiles.json has no shapes for: x" in capsys.readouterr().err
    assert not (bundle / "model.engine").exists()


def test_times_on_the_gpu_and_compares(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for precision in ("fp16", "fp32"):
        network(bundle, f"{precision}.onnx", precision)
    describe(bundle, {"int8": "model.onnx", "fp16": "fp16.onnx", "fp32": "fp32.onnx"})
    trt = StandIn()
    assert run(trt, "--rounds", "5") == 0
    shown = capsys.readouterr().out
    assert "5 runs each, at {'x': [8, 4]}" in shown
    assert re.search(r"int8 +1\.000 ms .* 4\.00x as fast as fp32", shown)
    assert re.search(r"fp16 +2\.000 ms .* 2\.00x", shown)
    assert re.search(r"fp32 +4\.000 ms .* 1\.00x", shown)
    assert trt.named("set_input_shape") == [("x", (8, 4))] * 3
    assert not Driver.last.memory and not Driver.last.marks, "all memory and marks are given back"


def test_a_network_to_compare_with_that_is_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network(bundle, "fp16.onnx", "fp16", error="no such operator in halves")
    network(bundle, "fp32.onnx", "fp32")
    describe(bundle, {"int8": "model.onnx", "fp16": "fp16.onnx", "fp32": "fp32.onnx"})
    assert run(StandIn()) == 0
    shown = capsys.readouterr()
    assert "4.00x as fast as fp32" in shown.out
    assert "fp16 is not compared: the parser refuses fp16.onnx:\nno such operator in halves" in shown.err


def test_one_network_is_timed_alone(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(StandIn()) == 0
    shown = capsys.readouterr().out
    assert "1.000 ms" in shown and "fp32" not in shown


def test_only_build_makes_one_engine_and_runs_nothing(bundle: Path) -> None:
    describe(bundle, {"int8": "model.onnx", "fp32": "missing.onnx"})
    trt = StandIn()
    assert run(trt, "--only-build") == 0
    assert not trt.named("set_input_shape")


def test_without_a_gpu_it_builds_and_says_so(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trt = StandIn(**RTX)
    assert run(trt, gpu=False) == 0
    assert "not timed: there is no GPU" in capsys.readouterr().out
    assert (bundle / "model.engine").exists()


def test_timing_cache_is_kept_and_used_again(bundle: Path) -> None:
    first, second = StandIn(), StandIn()
    assert run(first) == run(second) == 0
    assert first.named("create_timing_cache") == [(b"",)]
    assert second.named("create_timing_cache") == [(b"+",)]
    assert (bundle / "timing.cache").read_bytes() == b"++"


@pytest.mark.parametrize(("generation", "gpu"), [(RTX, True), (TEN, False)])
def test_no_timing_cache_where_there_is_nothing_to_time(bundle: Path, generation: Any, gpu: bool) -> None:
    trt = StandIn(**generation)
    assert run(trt, gpu=gpu) == 0
    assert not trt.named("create_timing_cache")


def test_compute_capability_is_for_rtx(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trt = StandIn(**RTX)
    assert run(trt, "--compute-capability", "8.9") == 0
    assert trt.named("set_compute_capability") == [("sm89", 0)]
    assert run(StandIn(**RTX), "--compute-capability", "9.0") == 1
    assert "does not build for compute capability 9.0" in capsys.readouterr().err
    assert run(StandIn(), "--compute-capability", "8.9") == 1
    assert "builds for the GPU that it runs on" in capsys.readouterr().err


def test_workspace(bundle: Path) -> None:
    trt = StandIn()
    assert run(trt, "--workspace", "2") == 0
    assert trt.named("set_memory_pool_limit") == [("workspace", 2 << 20)]


def test_what_the_parser_refuses_is_told(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network(bundle, "model.onnx", "int8", error="In node 3: no such operator")
    assert run(StandIn()) == 1
    assert "the parser refuses model.onnx:\nIn node 3: no such operator" in capsys.readouterr().err


def test_what_the_builder_refuses_is_told(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network(bundle, "model.onnx", "int8", build_error="no kernel")
    assert run(StandIn()) == 1
    shown = capsys.readouterr().err
    assert "tensorrt: no kernel" in shown and "no engine could be built of model.onnx" in shown


@pytest.mark.parametrize(
    ("fault", "message"),
    [({"foreign": True}, "cannot be loaded on this GPU"), ({"fails": True}, "the engine does not run")],
)
def test_engine_that_does_not_run(
    bundle: Path, fault: dict[str, bool], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    network(bundle, "model.onnx", "int8", **fault)
    assert run(StandIn()) == 1
    assert message in capsys.readouterr().err


def test_runs_feeds(bundle: Path) -> None:
    feeds = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(bundle / "in.npz", x=feeds)
    assert run(StandIn(), "--feeds", str(bundle / "in.npz"), "--outputs", str(bundle / "out.npz")) == 0
    with np.load(bundle / "out.npz") as found:
        np.testing.assert_array_equal(found["y"], 2 * feeds)
    assert not Driver.last.memory


def test_feeds_without_a_gpu(bundle: Path) -> None:
    assert run(StandIn(), "--feeds", "in.npz", gpu=False) == 1


def test_output_whose_shape_depends_on_the_data(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network(bundle, "model.onnx", "int8", batch=2, outputs={"y": [-1, 4]})
    describe(bundle, {"int8": "model.onnx"}, {})
    assert run(StandIn()) == 1
    assert "the shape of `y` depends on the data" in capsys.readouterr().err


def test_log_holds_everything(bundle: Path) -> None:
    assert run(StandIn(), "--log", str(bundle / "build.log")) == 0
    assert (bundle / "build.log").read_text() == "[V] Layers:\n"


@pytest.mark.parametrize("call", ["cuInit", "cuStreamCreate"])
def test_a_driver_that_fails_is_no_gpu(call: str) -> None:
    with pytest.raises(OSError, match=f"{call} failed with CUDA error 100"):
        Cuda(Driver(failing=call))


def test_neither_tensorrt_is_installed(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(build_engine, "MODULES", ("no_such_tensorrt", "nor_this_one"))
    assert main([]) == 1
    assert "TensorRT is not installed" in capsys.readouterr().err


def test_the_first_installed_module_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine, "MODULES", ("no_such_tensorrt", "json"))
    assert build_engine.load_tensorrt() is json


def test_the_script_runs_without_this_package(tmp_path: Path) -> None:
    shutil.copy(build_engine.__file__, tmp_path / "build_engine.py")
    command = [sys.executable, "-I", str(tmp_path / "build_engine.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "build the TensorRT engine" in done.stdout
    assert "pruna" not in Path(build_engine.__file__).read_text()
