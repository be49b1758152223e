"""Products whose input is quantized at run time as products of floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.restore_dynamic import RestoreDynamic
from pruna_ir.testing import check_pass, largest_difference, missed, ops

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.integers(-127, 128, (6, 5)).astype(np.int8)
SCALES = RANDOM.uniform(0.01, 0.02, 5).astype(np.float32)


def product(scale: Any = SCALES, zero: Any = None, outputs: str = "float[4,5] y", call: str = "Mul(f, t)") -> Model:
    """x @ w, with x quantized as the model runs."""
    constants = {"w": WEIGHT, "ws": scale} | ({} if zero is None else {"wz": zero})
    last = "" if zero is None else ", wz"
    text = f"""g (float[4,6] x) => ({outputs}) {{
        q, s, z = DynamicQuantizeLinear(x)
        sums = MatMulInteger(q, w, z{last})
        f = Cast<to=1>(sums)
        t = Mul(s, ws)
        y = {call}
    }}"""
    return model_from(text, **constants)


@pytest.mark.parametrize("scale", [np.float32(0.02), np.array([0.02], np.float32), SCALES])
@pytest.mark.parametrize("zero", [None, np.int8(3), RANDOM.integers(-3, 3, 5).astype(np.int8)])
@pytest.mark.parametrize("call", ["Mul(f, t)", "Mul(t, f)"])
def test_fires(scale: Any, zero: Any, call: str) -> None:
    before = product(scale, zero, call=call)
    after, result = check_pass(RestoreDynamic(), before)
    assert result.counts == {"restore-dynamic": 1}
    assert ops(after) == ["DequantizeLinear", "MatMul"]
    assert largest_difference(before, after) < 0.01  # what rounding the input to 8 bits does


def test_convolution() -> None:
    text = """g (float[1,2,5,6] x) => (float[1,4,5,6] y) {
        q, s, z = DynamicQuantizeLinear(x)
        sums = ConvInteger<pads=[1,1,1,1]>(q, w, z)
        f = Cast<to=1>(sums)
        t = Mul(s, ws)
        y = Mul(f, t)
    }"""
    weight = RANDOM.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8)
    before = model_from(text, w=weight, ws=np.float32(0.02))
    after, _ = check_pass(RestoreDynamic(), before)
    assert ops(after) == ["DequantizeLinear", "Conv"]
    assert largest_difference(before, after) < 0.01


def test_outputs_between_stay() -> None:
    after, result = check_pass(RestoreDynamic(), product(outputs="float[4,5] y, int32[4,5] sums"))
    assert "MatMulInteger" in ops(after)
    assert missed(result) == ["`sums` is an output of the graph"]


def test_scales_of_rows_stay() -> None:
    after, result = check_pass(RestoreDynamic(), product(np.full((4, 1), 0.02, np.float32)))
    assert "MatMulInteger" in ops(after)
    assert missed(result) == ["`ws` holds scales of something else than columns"]


def test_computed_weights_stay() -> None:
    text = """g (float[4,6] x, int8[6,5] w) => (float[4,5] y) {
        q, s, z = DynamicQuantizeLinear(x)
        sums = MatMulInteger(q, w, z)
        f = Cast<to=1>(sums)
        t = Mul(s, ws)
        y = Mul(f, t)
    }"""
    after, result = check_pass(RestoreDynamic(), model_from(text, ws=np.float32(0.02)))
    assert "MatMulInteger" in ops(after)
    assert missed(result) == ["`w` is computed"]
