"""The float form of a quantized model."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from
from small_graphs import samples, small_net

from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import ops


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def test_it_is_close_to_the_model_that_was_quantized() -> None:
    """Its Relu and Clip are back: only the rounding of the weights is left."""
    model, original = small_net(), small_net()
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    before = model.fingerprint()
    form = float_form(model)
    form.check()
    assert model.fingerprint() == before
    assert ops(form) == ["Conv", "Relu", "Conv", "Add", "Clip", "GlobalAveragePool", "Flatten", "Gemm"]
    results = [Session(one).run({"x": samples()})["y"] for one in (original, form, model)]
    assert sqnr(results[0], results[1]) > 40
    assert sqnr(results[1], results[2]) > 35


def pair_behind(op: str, scale: float, zero_point: int, dtype: str = "uint8") -> Model:
    return model_from(f"""g (float[2,2] x) => (float[2,2] y)
    <float s = {{{scale}}}, {dtype} z = {{{zero_point}}}> {{
        a = {op}
        q = QuantizeLinear(a, s, z)
        y = DequantizeLinear(q, s, z)
    }}""")


@pytest.mark.parametrize(
    ("op", "scale", "zero_point", "dtype", "expected"),
    [
        ("Add(x, x)", 0.01, 0, "uint8", ["Add", "Relu"]),
        ("Add(x, x)", 6 / 255, 0, "uint8", ["Add", "Clip"]),
        ("Add(x, x)", 6 / 255, -128, "int8", ["Add", "Clip"]),
        ("Add(x, x)", 0.01, 3, "uint8", ["Add"]),
        ("Add(x, x)", 0.01, 0, "int8", ["Add"]),
        ("Sigmoid(x)", 0.01, 0, "uint8", ["Sigmoid"]),
    ],
)
def test_saturation_that_stands_for_an_activation(
    op: str, scale: float, zero_point: int, dtype: str, expected: list[str]
) -> None:
    form = float_form(pair_behind(op, scale, zero_point, dtype))
    form.check()
    assert ops(form) == expected
    assert [output.name for output in form.outputs()] == ["y"]
    Session(form)


def test_float_model_stays_as_it_is() -> None:
    model = small_net()
    assert float_form(model).fingerprint() == model.fingerprint()
