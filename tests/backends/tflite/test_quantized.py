"""Which nodes with Q/DQ become integer kernels, and what runs in float between them, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import program
from onnx_text import model_from, weight

from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.program import Program
from pruna_ir.backends.tflite.quantized import integer_kernels
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

DATA = {"x": weight(2, 8, seed=4)}
PARAMETERS: dict[str, Any] = {
    "s": np.float32(0.03),
    "z": np.int8(-5),
    "s2": np.float32(0.05),
    "z2": np.int8(7),
    "low": np.int8(-128),
    "third": np.float32(1 / 256),
}


def model(body: str, outputs: str = "float[2,8] y", inputs: str = "float[2,8] x", **constants: Any) -> Model:
    """A graph whose input is quantized to `d` with scale s and zero point z."""
    text = f"g ({inputs}) => ({outputs}) {{ q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) {body} }}"
    used = {name: value for name, value in PARAMETERS.items() if f" {name}," in text or f" {name})" in text}
    return model_from(text, **used, **constants)


def remarks(source: Model) -> list[str]:
    return [str(remark.reason) for remark in integer_kernels(source.graph)[1]]


def codes(made: Program) -> list[str]:
    return [operator.code for operator in made.operators]


def agrees_within(source: Model, steps: float) -> Program:
    """LiteRT gives what ONNX Runtime does, up to so many steps of s2."""
    made = program(source)
    wanted = Session(source, optimize=False).run(DATA)
    for delegate in (True, False):
        found = LiteSession(write(made), delegate=delegate).run(DATA, list(wanted))
        for name, values in wanted.items():
            assert np.abs(found[name] - values).max() <= steps * 0.05 + 1e-6
    return made


def test_scales_in_the_file_are_those_of_the_graph() -> None:
    made = agrees_within(model("r = Sub(d, d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)"), 1)
    assert codes(made) == ["QUANTIZE", "SUB", "DEQUANTIZE"]
    found = {tensor.name: tensor.quantization for tensor in made.tensors() if tensor.quantization is not None}
    assert {name: (item.scale.tolist(), item.zero_point.tolist()) for name, item in found.items()} == {
        "q": ([np.float32(0.03)], [-5]),
        "rq": ([np.float32(0.05)], [7]),
    }


def test_an_operator_without_integer_kernel_runs_in_float() -> None:
    source = model("r = Sin(d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)")
    made = agrees_within(source, 1)
    assert codes(made) == ["QUANTIZE", "DEQUANTIZE", "SIN", "QUANTIZE", "DEQUANTIZE"]
    assert [str(remark.reason) for remark in made.remarks] == ["it runs in float: LiteRT has no integer kernel for Sin"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("r = Add(d, x) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)", "`x` is in float"),
        ("r = Relu(d) y = Neg(r)", "`r` is read in float"),
        (
            "r = Sigmoid(d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)",
            "the kernel writes the scale 0.00390625 only",
        ),
        (
            "r = Max(d, d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)",
            "what it reads and writes has different scales",
        ),
        (
            "r = Elu<alpha=0.5>(d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)",
            "the integer kernel needs alpha=1.0, not 0.5",
        ),
        (
            "r = Add(d, d) c = Clip(r, lo, hi) rq = QuantizeLinear(c, s2, z2) y = DequantizeLinear(rq, s2, z2)",
            "the kernel does not end in Clip",
        ),
    ],
)
def test_reasons(body: str, reason: str) -> None:
    bounds: dict[str, Any] = {"lo": np.float32(-0.5), "hi": np.float32(0.25)} if "Clip" in body else {}
    source = model(body, **bounds)
    assert f"it runs in float: {reason}" in remarks(source)
    agrees_within(source, 1)


def test_a_weight_in_float_keeps_the_kernel_in_float() -> None:
    source = model("r = MatMul(d, w) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)", w=weight(8, 8))
    assert remarks(source) == ["it runs in float: its weight is in float"]


def test_a_relu_becomes_part_of_the_kernel() -> None:
    body = "r = Add(d, d) c = Relu(r) rq = QuantizeLinear(c, s2, z2) y = DequantizeLinear(rq, s2, z2)"
    made = agrees_within(model(body), 1)
    assert codes(made) == ["QUANTIZE", "ADD", "DEQUANTIZE"]
    assert made.operators[1].options["fusedActivationFunction"] == "RELU"


def test_saturation_clips_where_the_range_ends() -> None:
    body = "r = Add(d, d) c = Clip(r, lo, hi) rq = QuantizeLinear(c, s2, z2) y = DequantizeLinear(rq, s2, z2)"
    source = model(body, lo=np.float32(-100), hi=np.float32(100))
    assert codes(agrees_within(source, 1)) == ["QUANTIZE", "ADD", "DEQUANTIZE"]


def test_from_one_scale_to_another_is_one_operator() -> None:
    made = agrees_within(model("rq = QuantizeLinear(d, s2, z2) y = DequantizeLinear(rq, s2, z2)"), 1)
    assert codes(made) == ["QUANTIZE", "QUANTIZE", "DEQUANTIZE"]


def test_from_a_scale_to_itself_is_none() -> None:
    made = agrees_within(model("rq = QuantizeLinear(d, s, z) y = DequantizeLinear(rq, s, z)"), 0)
    assert codes(made) == ["QUANTIZE", "DEQUANTIZE"]


def test_values_that_are_read_both_ways_are_converted_once() -> None:
    body = "r = Add(d, d) rq = QuantizeLinear(r, s2, z2) e = DequantizeLinear(rq, s2, z2) y = Sin(e) z1 = Cos(e)"
    made = program(model(body, "float[2,8] y, float[2,8] z1"))
    assert codes(made) == ["QUANTIZE", "ADD", "DEQUANTIZE", "SIN", "COS"]


def test_integers_at_the_border() -> None:
    source = model("r = Add(d, d) rq = QuantizeLinear(r, s2, z2) y = DequantizeLinear(rq, s2, z2)")
    made = lower(legalize(source), io_dtype="int8")
    assert codes(made) == ["ADD"]
    assert [item.name for item in [*made.inputs, *made.outputs]] == ["x", "y"]
    assert {item.tensor.dtype.name for item in [*made.inputs, *made.outputs]} == {"int8"}


def test_integers_at_the_border_of_a_graph_that_has_none() -> None:
    made = lower(legalize(model_from("g (float[2] x) => (float[2] y) { y = Relu(x) }")), io_dtype="int8")
    assert made.inputs[0].tensor.dtype == np.float32


def test_weights_in_integers_before_a_float_kernel() -> None:
    text = "g (float[2,8] x) => (float[2,16] y) { d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d) }"
    integers = np.random.default_rng(0).integers(-127, 128, (8, 16)).astype(np.int8)
    source = model_from(text, w=integers, s=np.linspace(0.01, 0.02, 16).astype(np.float32))
    exact = lower(legalize(source))
    assert codes(exact) == ["DEQUANTIZE", "FULLY_CONNECTED"]
    wanted = Session(source, optimize=False).run(DATA)["y"]
    for delegate in (True, False):
        found = LiteSession(write(exact), delegate=delegate).run(DATA)["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
    assert codes(lower(legalize(source), weights="int8")) == ["FULLY_CONNECTED"]


def test_biases_in_integers_before_a_float_kernel_become_floats() -> None:
    text = "g (float[2,8] x) => (float[2,4] y) { d = DequantizeLinear<axis=0>(b, s) y = Gemm(x, w, d) }"
    biases = np.array([1000, -2000, 30, 4], np.int32)
    source = model_from(text, w=weight(8, 4), b=biases, s=np.full(4, 0.001, np.float32))
    assert codes(agrees_within(source, 1e-4)) == ["FULLY_CONNECTED"]


@pytest.mark.parametrize(("scale", "corrected"), [(274 / 255, True), (1.0, False), (2 / 255, False)])
def test_images_of_whole_numbers_are_rounded_as_onnx_does(scale: float, corrected: bool) -> None:
    """LiteRT multiplies by 1 / scale: of 274 values in 255 steps one lies in the middle, by a hair on either side."""
    values = np.arange(-128, 148, dtype=np.float32)[None] * np.float32(1 if scale > 0.1 else 2 / 255)
    text = """g (float[1,276] x) => (float[1,276] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Relu(d)
    }"""
    source = model_from(text, s=np.float32(scale), z=np.int8(-14))
    made = program(source)
    assert ("DIV" in codes(made)) is corrected
    wanted = Session(source, optimize=False).run({"x": values})["y"]
    for delegate in (True, False):
        found = LiteSession(write(made), delegate=delegate).run({"x": values})["y"]
        np.testing.assert_array_equal(np.rint(found / scale), np.rint(wanted / scale))
