"""Schemes: ONNX Runtime's QuantizeLinear and DequantizeLinear, number for number."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.calibration import QuantParams, Range, Scheme
from pruna_ir.runtime import Session

TYPES = [np.int8, np.uint8, np.int16, np.uint16]


def by_onnxruntime(values: np.ndarray, params: QuantParams) -> tuple[np.ndarray, np.ndarray]:
    axis: dict[str, Any] = {} if params.axis is None else {"axis": params.axis}
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], **axis),
        onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], **axis),
    ]
    constants = [
        onnx.numpy_helper.from_array(params.scale, "scale"),
        onnx.numpy_helper.from_array(params.zero_point, "zero"),
    ]
    kind = onnx.helper.np_dtype_to_tensor_dtype(params.zero_point.dtype)
    outputs = [onnx.helper.make_tensor_value_info(name, what, None) for name, what in (("q", kind), ("y", 1))]
    inputs = [onnx.helper.make_tensor_value_info("x", 1, values.shape)]
    graph = onnx.helper.make_graph(nodes, "quantize", inputs, outputs, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    result = Session(model, optimize=False).run({"x": values})
    return result["q"], result["y"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_equal_to_onnxruntime(generator: np.random.Generator, dtype: type, symmetric: bool) -> None:
    values = generator.standard_normal((5, 2000), np.float32) * np.float32(3)
    for interval in (Range(-4.0, 5.0), Range(0.0, 6.0), Range(-2.0, 0.0)):
        scheme = Scheme(np.dtype(dtype), symmetric)
        params = scheme.quantization(interval)
        integers, reals = by_onnxruntime(values, params)
        np.testing.assert_array_equal(scheme.quantize(values, params), integers)
        np.testing.assert_array_equal(scheme.dequantize(integers, params), reals)


@pytest.mark.parametrize("axis", [0, 1])
def test_equal_to_onnxruntime_per_channel(generator: np.random.Generator, axis: int) -> None:
    values = generator.standard_normal((5, 7), np.float32)
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=axis)
    params = scheme.of_weights(values)
    integers, reals = by_onnxruntime(values, params)
    np.testing.assert_array_equal(scheme.quantize(values, params), integers)
    np.testing.assert_array_equal(scheme.dequantize(integers, params), reals)


def test_halves_go_to_even() -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)
    params = QuantParams(np.array(1, np.float32), np.array(0, np.int8))
    np.testing.assert_array_equal(Scheme(np.dtype(np.int8)).quantize(values, params), [0, 2, 2, 0, -2])
    np.testing.assert_array_equal(by_onnxruntime(values, params)[0], [0, 2, 2, 0, -2])


@given(
    st.sampled_from(TYPES),
    st.booleans(),
    st.booleans(),
    st.floats(-(2.0**99), 2.0**99, width=32),
    st.floats(-(2.0**99), 2.0**99, width=32),
)
def test_every_range_gets_a_usable_scale_and_an_exact_zero(
    dtype: type, symmetric: bool, narrow: bool, first: float, second: float
) -> None:
    scheme = Scheme(np.dtype(dtype), symmetric, narrow=narrow)
    low, high = sorted([first, second])
    params = scheme.quantization(Range(low, high))
    assert np.isfinite(params.scale)
    assert params.scale >= np.finfo(np.float32).tiny
    assert params.scale.dtype == np.float32
    assert scheme.lowest <= int(params.zero_point) <= scheme.highest
    zero = np.zeros(1, np.float32)
    assert scheme.dequantize(scheme.quantize(zero, params), params) == 0
    represented = scheme.range(params)
    scale = float(params.scale)
    assert represented.minimum <= min(low, 0) + 0.51 * scale
    assert represented.maximum >= max(high, 0) - 0.51 * scale


def test_symmetric_zero_points_and_narrow_ends() -> None:
    assert Scheme(np.dtype(np.int8), symmetric=True).quantization(Range(-1.0, 2.0)).zero_point == 0
    assert Scheme(np.dtype(np.uint8), symmetric=True).quantization(Range(-1.0, 2.0)).zero_point == 128
    narrow = Scheme(np.dtype(np.int8), symmetric=True, narrow=True)
    params = narrow.quantization(Range(-1.0, 1.0))
    np.testing.assert_array_equal(narrow.quantize(np.array([-9.0, 9.0]), params), [-127, 127])
    assert float(params.scale) == pytest.approx(1 / 127)


def test_per_channel_weights_use_their_whole_grid(generator: np.random.Generator) -> None:
    weights = generator.standard_normal((4, 3, 3, 3), np.float32) * np.array([1, 10, 0.01, 0]).reshape(4, 1, 1, 1)
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True)
    params = scheme.of_weights(weights)
    assert params.scale.shape == params.zero_point.shape == (4,)
    integers = scheme.quantize(weights, params)
    np.testing.assert_array_equal(np.abs(integers.astype(int)).reshape(4, -1).max(axis=1), [127, 127, 127, 0])
    error = np.abs(scheme.dequantize(integers, params) - weights).reshape(4, -1).max(axis=1)
    assert (error <= params.scale * 0.5001).all()
    negative = Scheme(np.dtype(np.int8), symmetric=True, axis=-4)
    np.testing.assert_array_equal(negative.of_weights(weights).scale, params.scale)


def test_weights_of_no_elements_and_no_axis() -> None:
    scheme = Scheme(np.dtype(np.int8), symmetric=True)
    assert scheme.of_weights(np.zeros((0, 3), np.float32)).scale > 0
    assert float(scheme.of_weights(np.array([-2.54, 1.0], np.float32)).scale) == pytest.approx(0.02)


def test_int32_biases_keep_their_digits() -> None:
    scheme = Scheme(np.dtype(np.int32), symmetric=True)
    params = QuantParams(np.array(1e-6, np.float32), np.array(0, np.int32))
    value = np.array([123.456789])
    assert abs(int(scheme.quantize(value, params)[0]) - round(123.456789 / float(np.float32(1e-6)))) <= 1


def test_a_type_is_taken_as_a_dtype() -> None:
    assert Scheme(np.int8).dtype == np.dtype("int8")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [1e-7, 2e-4, 0.3, 17.0, 1e4, 1e9])
def test_scales_that_16_bits_hold_are_rounded_up(width: float) -> None:
    scheme = Scheme(np.dtype(np.int8), half_scales=True)
    exact = Scheme(np.dtype(np.int8)).quantization(Range(-width / 3, width)).scale
    scale = scheme.quantization(Range(-width / 3, width)).scale
    if 2e-4 <= width <= 1e4:
        assert np.float32(np.float16(scale)) == scale and exact <= scale < exact * 1.07
    else:  # too small to be rounded, or too large to be held
        assert scale == exact


def test_rounded_scales_hold_all_weights(generator: np.random.Generator) -> None:
    weights = generator.normal(size=(6, 20)).astype(np.float32)
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True, half_scales=True)
    params = scheme.of_weights(weights)
    assert params.scale.shape == (6,) and (np.abs(weights).max(axis=1) <= 127 * params.scale).all()
