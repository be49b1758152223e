"""Products whose input is quantized at run time, as our pass and ONNX Runtime's quantizer write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_text import model_from
from onnxruntime.quantization import QuantType, quantize_dynamic

from pruna_ir.analysis.diagnosis.dynamic_products import dynamic_products
from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.analysis.diagnosis.layer_errors import LayerError, layer_errors
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import ops

GENERATOR = np.random.default_rng(0)
BATCHES = [{"x": GENERATOR.standard_normal((1, 6, 8)).astype(np.float32)} for _ in range(4)]
CONSTANTS: dict[str, Any] = {
    "w": GENERATOR.standard_normal((8, 5)).astype(np.float32),
    "b": np.arange(5, dtype=np.float32),
    "v": GENERATOR.standard_normal((4, 5)).astype(np.float32),
}


def products() -> Model:
    """A MatMul with a bias and a Gemm of a transposed weight, times a half."""
    return model_from(
        """g (float[1,6,8] x) => (float[6,4] y) <int64[2] s = {6, 5}> {
        p = MatMul(x, w)
        q = Add(p, b)
        r = Relu(q)
        t = Reshape(r, s)
        y = Gemm <alpha = 0.5, transB = 1> (t, v)
    }""",
        **CONSTANTS,
    )


def quantized() -> Model:
    model = products()
    PassManager.parse("quantize-dynamic<smallest=1>").run(model)
    assert [node.op for node in model.graph.nodes].count("MatMulInteger") == 2
    return model


def errors(model: Model, reference: Model, *, knows_weights: bool = True) -> dict[str, LayerError]:
    return {item.layer.wanted: item for item in layer_errors(model, reference, BATCHES, knows_weights=knows_weights)}


def test_float_form_computes_the_same_without_rounding_inputs() -> None:
    model = quantized()
    form = float_form(model)
    form.check()
    assert ops(form) == ["MatMul", "Add", "Relu", "Reshape", "MatMul"]
    exact, found, plain = (Session(one).run(BATCHES[0])["y"] for one in (products(), model, form))
    scale = np.abs(exact).max()
    assert 0 < np.abs(found - exact).max() < 0.05 * scale
    assert 0 < np.abs(plain - exact).max() < 0.05 * scale


def test_layers_are_measured_with_their_weights_and_inputs() -> None:
    found = errors(quantized(), products())
    assert set(found) == {"q", "y"}
    assert found["q"].layer.op == "MatMul" and found["y"].layer.op == "Gemm"
    for item in found.values():
        assert 30 < float(item.weights) < 60  # type: ignore[arg-type]
        assert 25 < float(item.alone) < 60  # type: ignore[arg-type]
        assert 25 < float(item.accumulated) < 60  # type: ignore[arg-type]
    assert found["q"].runs_as and found["y"].runs_as
    assert sum(item.share for item in found.values()) == pytest.approx(1.0)


def test_alone_is_the_input_alone_where_the_weights_are_not_known() -> None:
    model = quantized()
    found = errors(model, float_form(model), knows_weights=False)
    assert set(found) == {"q", "y"}
    assert all(isinstance(item.weights, Unmeasured) and float(item.alone) < 60 for item in found.values())  # type: ignore[arg-type]
    both = errors(model, products())
    assert all(float(found[name].alone) > float(both[name].alone) for name in found)  # type: ignore[arg-type]


def test_onnxruntimes_are_found(tmp_path: Path) -> None:
    kernel = GENERATOR.standard_normal((4, 3, 3, 3)).astype(np.float32)
    model = model_from(
        """g (float[1,3,6,6] x) => (float[1,5] y) {
        c = Conv(x, w)
        p = GlobalAveragePool(c)
        f = Flatten(p)
        y = MatMul(f, m)
    }""",
        w=kernel,
        m=CONSTANTS["w"][:4],
    )
    model.save(tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=QuantType.QInt8)
    found = Model.load(tmp_path / "int8.onnx")
    assert [product.op for product in dynamic_products(found.graph)] == ["Conv", "MatMul"]
    batches = [{"x": GENERATOR.standard_normal((1, 3, 6, 6)).astype(np.float32)} for _ in range(3)]
    measured = layer_errors(found, float_form(found), batches, knows_weights=False)
    assert [item.layer.op for item in measured].count("Conv") == 1 and len(measured) == 2
    assert all(20 < float(item.alone) < 70 for item in measured)  # type: ignore[arg-type]


def test_sums_that_somebody_else_reads_are_not_a_product() -> None:
    model = quantized()
    cast = next(node for node in model.graph.nodes if node.op == "Cast")
    model.graph.outputs.append(cast.inputs[0])
    assert len(list(dynamic_products(model.graph))) == 1
