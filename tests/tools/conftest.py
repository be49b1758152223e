"""What the tests of the command line share: a small model, data that fit it, and a way to run pruna-opt in-process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pruna_ir.report.measure import measure_latencies
from pruna_ir.tools.pruna_opt import main

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Calls main() in `tmp_path` with the given arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> CompletedProcess[str]:
        capsys.readouterr()
        given = [str(argument) for argument in arguments]
        code = main(given)
        captured = capsys.readouterr()
        return CompletedProcess(given, code, captured.out, captured.err)

    return call


def convolutional() -> onnx.ModelProto:
    """x [n, 3, 8, 8] -> Conv, BatchNormalization, Relu, global pool, Gemm -> y [n, 4], with an Identity to remove."""
    rng = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> TensorProto:
        return onnx.numpy_helper.from_array(rng.uniform(0.1, 1.0, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("Identity", ["n"], ["i"], name="identity"),
        helper.make_node("Relu", ["i"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "g"], ["y"], name="head"),
    ]
    weights = [tensor("w", 8, 3, 3, 3), *(tensor(name, 8) for name in "sbmv"), tensor("g", 8, 4)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def proto() -> onnx.ModelProto:
    """The small model, to be damaged."""
    return convolutional()


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """The small model as a file."""
    path = tmp_path / "model.onnx"
    onnx.save(convolutional(), path)
    return path


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """16 samples that fit the small model."""
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(1).standard_normal((16, 3, 8, 8)).astype(np.float32))
    return path


@pytest.fixture(autouse=True)
def short_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The final latency is measured in a moment: these tests read no speed."""
    monkeypatch.setattr("pruna_ir.tools.result.measure_latencies", partial(measure_latencies, seconds=0.05))
