"""What the checks of the back end `onnx` catch, each by a file that is wrong in one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from pruna_ir.backends.onnxruntime.backend import OnnxBackend
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Emitted
from pruna_ir.model import Model

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n,3] x) => (float[n,3] y) <float[3] w = {1, 2, 3}> { y = Mul (x, w) }"""
SAMPLES = [{"x": np.ones((1, 3), np.float32)}]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    OnnxBackend().emit(Model.from_text(TEXT), path)
    return path


def emitted(path: Path) -> Emitted:
    return Emitted(OnnxBackend(), Model.from_text(TEXT), path)


def test_sound_file(written: Path) -> None:
    names = [check.name for check in OnnxBackend().check(emitted(written), SAMPLES)]
    assert names == ["loads", "outputs", "optimized"]
    uncompared = OnnxBackend().check(emitted(written), [])
    assert [check.name for check in uncompared] == ["loads", "outputs"] and "not compared" in uncompared[1].result


def test_other_numbers(written: Path) -> None:
    proto = onnx.load(written)
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([1, 2, 3.001], np.float32), "w"))
    onnx.save(proto, written)
    with pytest.raises(PrunaError, match=r"E002.*`y` differs"):
        OnnxBackend().check(emitted(written), SAMPLES)


def test_nan_in_the_outputs(tmp_path: Path) -> None:
    model = Model.from_text(TEXT.replace("Mul", "Pow"))
    OnnxBackend().emit(model, tmp_path / "m.onnx")
    undefined = [{"x": np.array([[-1, -1, np.nan]], np.float32)}]
    with pytest.raises(PrunaError, match="holds 1 NaN"):
        OnnxBackend().check(Emitted(OnnxBackend(), model, tmp_path / "m.onnx"), undefined)


def test_file_that_the_runtime_refuses(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-20])
    with pytest.raises(PrunaError, match="M009"):
        OnnxBackend().check(emitted(written), SAMPLES)
