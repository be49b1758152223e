"""Graphs of which part is quantized to 8 bits and part to 16: conversions where they meet, or float with a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from onnx_text import model_from, weight

from pruna_ir.backends.agreement import compare
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.remarks import Remark
from pruna_ir.runtime.session import Session

SAMPLES = [{"x": weight(1, 4, 8, 8, seed=seed)} for seed in range(8)]
CONVERTED = "it runs in float: it reads int16 and writes int8"


def mixed(exclude: str) -> Model:
    """A block of a residual network in 8 bits, and in 16 the operators that `exclude` names."""
    text = """g (float[1,4,8,8] x) => (float[1,6] y) {
        a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) c = Conv<pads=[1,1,1,1]>(r, v, b) s = Add(c, x) t = Relu(s)
        e = Conv<pads=[1,1,1,1]>(t, u, b) p = GlobalAveragePool(e) f = Flatten(p) y = Gemm(f, m)
    }"""
    weights: dict[str, Any] = {name: weight(4, 4, 3, 3, seed=seed) * 0.2 for seed, name in enumerate("wvu")}
    model = model_from(text, b=weight(4, seed=5), m=weight(4, 6, seed=6), **weights)
    data = Dataset.from_arrays(SAMPLES).bind(model.inputs())
    pipeline = f"quantize<exclude=[{exclude}];guard=false>,quantize<activations=int16;guard=false>"
    PassManager.parse(pipeline).run(model, data=data, target="tflite")
    return model


def emitted(model: Model, path: Path) -> tuple[Model, list[Remark]]:
    """What was written, and the remarks on it."""
    backend = TfliteBackend()
    legal = backend.legalize(model)
    return legal, list(backend.emit(legal, path))


@pytest.mark.parametrize("exclude", ["op:Conv", "op:Add", "op:Gemm"])
@pytest.mark.parametrize("delegate", [True, False])
def test_both_types_in_one_file(exclude: str, delegate: bool, tmp_path: Path) -> None:
    path = tmp_path / "mixed.tflite"
    legal, remarks = emitted(mixed(exclude), path)
    session = LiteSession(path, delegate=delegate)
    kinds = Counter(np.dtype(detail["dtype"]).name for detail in session.native.get_tensor_details())
    assert kinds["int8"] and kinds["int16"]
    assert {str(remark.reason) for remark in remarks} <= {CONVERTED}
    found = compare(legal, Session(legal, optimize=False), session, SAMPLES)
    step = 1 / 255  # of 8 bits, of the range
    assert found["y"].worst < (1.1 * step if delegate else 2.2 * step)  # LiteRT's own MEAN is a step off here and there


def test_a_kernel_that_would_read_one_type_and_write_another_runs_in_float(tmp_path: Path) -> None:
    text = """g (float[1,8] x) => (float[1,8] y) {
        q = QuantizeLinear(x, fine, none) d = DequantizeLinear(q, fine, none) r = Add(d, d)
        rq = QuantizeLinear(r, coarse, zero) y = DequantizeLinear(rq, coarse, zero)
    }"""
    scales = {"fine": np.float32(1e-4), "none": np.int16(0), "coarse": np.float32(0.05), "zero": np.int8(3)}
    legal, remarks = emitted(model_from(text, opset=21, **scales), tmp_path / "mixed.tflite")
    assert [str(remark.reason) for remark in remarks] == [CONVERTED]
    session = LiteSession(tmp_path / "mixed.tflite")
    codes = [code for code, _ in session.operators()]
    assert codes == ["QUANTIZE", "DEQUANTIZE", "ADD", "QUANTIZE", "DEQUANTIZE"]
    found = compare(legal, Session(legal, optimize=False), session, [{"x": weight(1, 8)}])
    assert found["y"].steps == 0
