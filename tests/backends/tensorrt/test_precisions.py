"""Networks in the precision that is asked for."""

from __future__ import annotations

import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, weight
from small_graphs import small_net
from tensorrt_graphs import equal, quantized, wide

from pruna_ir.backends.tensorrt.legality import require_legal
from pruna_ir.backends.tensorrt.legalize import legalize
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session
from pruna_ir.testing import ops


@pytest.mark.parametrize("precision", ["graph", "int8", "int8+fp16"])
def test_precision_of_a_quantized_graph(precision: str) -> None:
    after = legalize(quantized(), precision)
    assert [layer.precision for layer in layers(after.graph)] == ["int8", "int8"]
    assert ("Cast" in ops(after)) == (precision == "int8+fp16")
    require_legal(after)


@pytest.mark.parametrize(("precision", "found"), [("graph", "fp32"), ("fp32", "fp32"), ("fp16", "fp16")])
def test_precision_of_a_float_graph(precision: str, found: str) -> None:
    before = small_net()
    after = legalize(before, precision)
    assert {layer.precision for layer in layers(after.graph)} == {found}
    assert equal(before, after) < (1e-5 if found == "fp32" else 1e-2)


def test_8_bit_floats_in_the_place_of_integers() -> None:
    before = quantized()
    after = legalize(before, "fp8")
    require_legal(after)
    assert [layer.precision for layer in layers(after.graph)] == ["fp8", "fp8"]
    assert ops(after) == ops(legalize(before)) and after.opset >= 19
    found = [Session(model, optimize=False).run({"x": weight(8, 16, 8, 8, seed=3)})["y"] for model in (before, after)]
    assert 0 < np.sqrt(np.mean((found[0] - found[1]) ** 2)) < 0.05


def test_8_bit_floats_saturate_where_the_integers_did() -> None:
    def ranges(model: Model, top: float) -> list[float]:
        return [top * float(node.inputs[1].values) for node in model.graph.nodes if node.op == "QuantizeLinear"]

    before = quantized()
    assert ranges(legalize(before, "fp8"), 448) == pytest.approx(ranges(before, 127))


def test_broken_pairs_are_not_hidden_by_8_bit_floats() -> None:
    broken = quantized()
    for node in broken.graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear") and not node.inputs[2].values.ndim:
            node.inputs[2] = gs.Constant(f"{node.name}_three", np.array(3, np.int8))
    with pytest.raises(PrunaError) as failure:
        require_legal(legalize(broken, "fp8"))
    assert "its zero point is 3" in str(failure.value)


def test_integers_that_come_in_have_no_8_bit_floats() -> None:
    text = """g (int8[1,16,8,8] x) => (float[1,16,8,8] y) <float s = {0.1}, int8 z = {0}> {
        d = DequantizeLinear (x, s, z) q = QuantizeLinear (d, s, z) e = DequantizeLinear (q, s, z) y = Relu (e)
    }"""
    with pytest.raises(PrunaError) as failure:
        legalize(model_from(text), "fp8")
    assert failure.value.diagnostic.code == "E004" and "`x` is int8" in failure.value.diagnostic.message


def test_weights_in_4_bits() -> None:
    text = "g (float[2,128] x) => (float[2,64] y) { h = MatMul (x, a) r = Relu (h) y = MatMul (r, b) }"
    after = legalize(model_from(text, a=weight(128, 64), b=weight(64, 64, seed=1)), "int4-weights")
    require_legal(after)
    assert {layer.precision for layer in layers(after.graph)} == {"int4-weights"}


def test_no_weights_in_4_bits() -> None:
    with pytest.raises(PrunaError) as failure:
        legalize(small_net(), "int4-weights")
    assert failure.value.diagnostic.code == "E004" and "blocks of 64" in failure.value.diagnostic.message


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int4-weights"])
def test_float_precision_of_a_quantized_graph(precision: str) -> None:
    with pytest.raises(PrunaError) as failure:
        legalize(quantized(), precision)
    assert failure.value.diagnostic.code == "E004" and f"precision={precision}" in failure.value.diagnostic.message


@pytest.mark.parametrize("precision", ["int8", "int8+fp16", "fp8"])
def test_int8_of_a_float_graph(precision: str) -> None:
    with pytest.raises(PrunaError) as failure:
        legalize(small_net(), precision)
    assert failure.value.diagnostic.code == "E004" and "-O2 --target tensorrt" in failure.value.diagnostic.help


def test_a_calibration_cache_quantizes(tmp_path: Path) -> None:
    lines = ["TRT-8601-EntropyCalibration2", *(f"{name}: {struct.pack('>f', 0.05).hex()}" for name in "xcrey")]
    (tmp_path / "cache").write_text("\n".join(lines))
    after = legalize(wide(), "int8", str(tmp_path / "cache"))
    require_legal(after)
    assert [layer.precision for layer in layers(after.graph)] == ["int8", "int8"]


def eight_bit_floats() -> Model:
    """A product with Q/DQ of FP8, as Model Optimizer writes it."""
    scale = onnx.numpy_helper.from_array(np.array(0.1, np.float32), "s")
    numbers = np.random.default_rng(0).standard_normal((64, 64)).astype(ml_dtypes.float8_e4m3fn)
    kind = onnx.TensorProto.FLOAT8E4M3FN
    stored = [
        onnx.helper.make_tensor(name, kind, v.shape, v.tobytes(), raw=True)
        for name, v in (("w", numbers), ("z", np.zeros((), ml_dtypes.float8_e4m3fn)))
    ]
    node = onnx.helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        node("MatMul", ["d", "v"], ["y"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4, 64]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], [scale, *stored])
    return Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10))


def test_8_bit_floats_pass() -> None:
    after = legalize(eight_bit_floats())
    require_legal(after)
    assert [layer.precision for layer in layers(after.graph)] == ["fp8"]
