"""Q and DQ whose scales are computed, and products of integers, in arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.passes.decomposition.write_out_integer_products import WriteOutIntegerProducts
from pruna_ir.passes.decomposition.write_out_quantization import WriteOutQuantization
from pruna_ir.testing import check_pass, missed, ops

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 4)).astype(np.float32) * 3
SCALES: dict[str, np.ndarray] = {"": np.array(0.03, np.float32), "[3]": np.array([0.02, 0.05, 0.01], np.float32)}


@pytest.mark.parametrize("shape", ["", "[3]"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_quantize(shape: str, dtype: str) -> None:
    inputs = f"float[2,3,4] x, float{shape} s, {dtype}{shape} z"
    text = f"g ({inputs}) => ({dtype}[2,3,4] y) {{ y = QuantizeLinear(x, s, z) }}"
    scale = SCALES[shape]
    feeds: dict[str, np.ndarray] = {"x": X, "s": scale, "z": np.full(scale.shape, 5, dtype)}
    after, result = check_pass(WriteOutQuantization(), model_from(text, opset=21), feeds=feeds)
    assert result.counts == {"write-out-quantization": 1}
    assert "QuantizeLinear" not in ops(after)


def test_quantize_without_a_zero_point() -> None:
    model = model_from("g (float[2,3,4] x, float s) => (uint8[2,3,4] y) { y = QuantizeLinear(x, s) }")
    check_pass(WriteOutQuantization(), model, feeds={"x": X, "s": SCALES[""]})


@pytest.mark.parametrize("axis", [1, -2])
def test_dequantize(axis: int) -> None:
    text = (
        f"g (int8[2,3,4] x, float[3] s, int8[3] z) => (float[2,3,4] y) {{ y = DequantizeLinear<axis={axis}>(x, s, z) }}"
    )
    integers = RANDOM.integers(-128, 128, (2, 3, 4)).astype(np.int8)
    feeds: dict[str, np.ndarray] = {"x": integers, "s": SCALES["[3]"], "z": np.array([0, 3, -4], np.int8)}
    after, _ = check_pass(WriteOutQuantization(), model_from(text), feeds=feeds)
    assert ops(after).count("Mul") == 1


def test_constant_scales_stay() -> None:
    model = model_from("g (float[2] x) => (int8[2] y) { y = QuantizeLinear(x, s, z) }", s=np.float32(0.1), z=np.int8(3))
    after, result = check_pass(WriteOutQuantization(), model)
    assert ops(after) == ["QuantizeLinear"]
    assert not missed(result)


def test_unknown_shapes_stay() -> None:
    model = model_from("g (float[n] x, float s) => (uint8[n] y) { y = QuantizeLinear(x, s) }")
    after, result = check_pass(WriteOutQuantization(), model, feeds={"x": X[0, 0], "s": SCALES[""]})
    assert ops(after) == ["QuantizeLinear"]
    assert missed(result) == ["the shapes of `x` and `s` are not known"]


@pytest.mark.parametrize("zeros", ["", ", az", ", az, bz", ", , bz"])
@pytest.mark.parametrize("rows", [False, True])
def test_products_of_matrices(zeros: str, rows: bool) -> None:
    sizes = (4, 5) if rows else ((), ())
    constants = {
        "b": RANDOM.integers(0, 256, (6, 5)).astype(np.uint8),
        "az": np.broadcast_to(np.uint8(100), sizes[0]).copy(),
        "bz": np.broadcast_to(np.uint8(20), sizes[1]).copy(),
    }
    if rows and "az" in zeros:
        pytest.skip("ONNX Runtime takes one zero point of the first operand")
    kept: dict[str, Any] = {name: values for name, values in constants.items() if name == "b" or name in zeros}
    model = model_from(f"g (uint8[4,6] a) => (int32[4,5] y) {{ y = MatMulInteger(a, b{zeros}) }}", **kept)
    after, result = check_pass(WriteOutIntegerProducts(), model)
    assert result.counts == {"write-out-integer-products": 1}
    assert "MatMul" in ops(after)


@pytest.mark.parametrize("zeros", ["", ", xz", ", xz, wz"])
def test_convolutions(zeros: str) -> None:
    constants = {"xz": np.uint8(100), "wz": np.uint8(20)}
    kept: dict[str, Any] = {name: values for name, values in constants.items() if name in zeros}
    filters = RANDOM.integers(0, 256, (4, 2, 3, 3)).astype(np.uint8)
    text = f"g (uint8[1,2,5,6] x) => (int32[1,4,5,6] y) {{ y = ConvInteger<pads=[1,1,1,1]>(x, w{zeros}) }}"
    after, _ = check_pass(WriteOutIntegerProducts(), model_from(text, w=filters, **kept))
    assert "Conv" in ops(after)


def test_products_of_unknown_shapes_stay() -> None:
    model = model_from("g (uint8[n,6] a, uint8[6,5] b) => (int32[n,5] y) { y = MatMulInteger(a, b) }")
    after, result = check_pass(WriteOutIntegerProducts(), model)
    assert ops(after) == ["MatMulInteger"]
    assert missed(result) == ["the shape of `a` is not known"]
