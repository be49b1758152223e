"""Reading Q/DQ out of a graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import samples, small_net

from pruna_ir.analysis.qdq import integer_limits, pairs, params_of, quantized_already, round_trip, stored
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

PAIR = """g (float[1,2,2,2] x) => (float[1,2,2,2] y)
<float s = {0.5}, uint8 z = {7}, int8[2,1,1,1] w = {3, -4}, float[2] ws = {0.5, 2}, int8[2] wz = {0, 0}> {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    e = DequantizeLinear(q, s, z)
    v = DequantizeLinear <axis = 0> (w, ws, wz)
    c = Conv <group = 2> (d, v)
    y = Add(c, e)
}"""


def test_pairs() -> None:
    found = list(pairs(model_from(PAIR).graph))
    assert [(pair.source.name, pair.integers.name, pair.result.name) for pair in found] == [
        ("x", "q", "d"),
        ("x", "q", "e"),
    ]
    params = params_of(found[0].quantize)
    assert params is not None and params.scale.shape == () and (float(params.scale), int(params.zero_point)) == (0.5, 7)


def test_stored_constant() -> None:
    graph = model_from(PAIR).graph
    inside = stored(graph.tensors()["v"])
    assert inside is not None and inside.constant.name == "w"
    assert inside.values().tolist() == [[[[1.5]]], [[[-8.0]]]]
    assert stored(graph.tensors()["d"]) is None and stored(graph.tensors()["x"]) is None


@pytest.mark.parametrize(("zero_point", "dtype"), [("", np.uint8), (", z", np.int8)], ids=["left out", "given"])
def test_zero_point_may_be_left_out(zero_point: str, dtype: type) -> None:
    text = f"""g (float[2] x) => (float[2] y) <float[1] s = {{0.5}}, int8[1] z = {{3}}> {{
        q = QuantizeLinear(x, s{zero_point})
        y = DequantizeLinear(q, s{zero_point})
    }}"""
    pair = next(pairs(model_from(text).graph))
    for node in (pair.quantize, pair.dequantize):
        params = params_of(node)
        assert params is not None and params.scale.shape == () and params.zero_point.dtype == dtype


def test_computed_scale_is_not_known() -> None:
    text = """g (float[2] x, float s) => (float[2] y) <uint8 z = {3}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    assert params_of(next(pairs(model_from(text).graph)).quantize) is None


def test_numbers_that_are_no_integers_are_not_known() -> None:
    text = """g (float[2] x) => (float[2] y) <float s = {1}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    zero = onnx.helper.make_tensor("z", onnx.TensorProto.FLOAT8E4M3FN, [], [0.0])
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}')
    proto.graph.initializer.append(zero)
    assert params_of(next(pairs(Model.load(proto).graph)).quantize) is None


def test_round_trip_is_what_the_runtime_does() -> None:
    text = """g (float[n,3,8,8] x) => (float[n,3,8,8] y) <float s = {0.013}, int8 z = {-20}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    model = model_from(text)
    params = params_of(next(pairs(model.graph)).quantize)
    assert params is not None
    expected = Session(model, optimize=False).run({"x": samples()})["y"]
    np.testing.assert_allclose(round_trip(samples(), params), expected, atol=1e-6)


def test_limits() -> None:
    import ml_dtypes

    assert integer_limits(np.dtype(np.uint8)) == (0, 255)
    assert integer_limits(np.dtype(ml_dtypes.int4)) == (-8, 7)


def test_what_is_in_integers_already() -> None:
    text = """g (uint8[2,2] x, float[2,2] f) => (int32[2,2] y, float[2,2] e) <float s = {0.5}, uint8 z = {3}> {
        y = MatMulInteger(x, x)
        q = QuantizeLinear(f, s, z)
        e = DequantizeLinear(q, s, z)
    }"""
    assert str(quantized_already(model_from(text).graph)) == "1 Q/DQ pairs and 1 operators on integers"
    assert quantized_already(small_net().graph) is None
