"""Graphs of all kinds, made into what TensorRT takes; and those that cannot be, with all the reasons."""

from __future__ import annotations

import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight
from small_graphs import small_net

from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.legality import require_legal
from pruna_ir.backends.tensorrt.legalize import legalize
from pruna_ir.backends.tensorrt.operators import refused
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.model.spec import TensorSpec
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import ops

QLINEAR = """g (uint8[1,8,6,6] x) => (uint8[1,8,6,6] y)
<float s = {0.1}, uint8 z = {128}, int8[8,8,1,1] w, float t = {0.02}, int8 v = {0}> {
    y = QLinearConv (x, s, z, w, t, v, s, z)
}"""
# As ONNX Runtime's quantizer writes it for symmetric activations of uint8.
UNSIGNED = """g (float[1,8,6,6] x) => (float[1,8,6,6] y)
<float s = {0.1}, uint8 z = {128}, int8[8,8,1,1] w, float t = {0.02}, int8 v = {0},
 int32[8] b = {1,2,3,4,5,6,7,8}, float u = {0.002}, int32 o = {0}> {
    q = QuantizeLinear (x, s, z)
    d = DequantizeLinear (q, s, z)
    wd = DequantizeLinear (w, t, v)
    bd = DequantizeLinear (b, u, o)
    y = Conv (d, wd, bd)
}"""
ATTENTION = """g (float[1,4,6,8] q, float[1,4,6,8] k, float[1,4,6,8] v) => (float[1,4,6,8] y)
{ y = Attention (q, k, v) }"""


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-100, 100, shape).astype(np.int8)


def with_weight(text: str) -> Model:
    weights = onnx.numpy_helper.from_array(bytes_of(8, 8, 1, 1), "w")
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text.replace("int8[8,8,1,1] w, ", "")}')
    proto.graph.initializer.append(weights)
    return Model.load(proto)


def wide() -> Model:
    """Two convolutions that are wide enough for 8 bits."""
    text = (
        "g (float[n,16,8,8] x) => (float[n,16,8,8] y) { c = Conv (x, v) r = Relu (c) e = Conv (r, u) y = Sigmoid (e) }"
    )
    return model_from(text, v=weight(16, 16, 1, 1), u=weight(16, 16, 1, 1, seed=1))


def quantized(target: str = "tensorrt") -> Model:
    model = wide()
    PassManager.parse("quantize<guard=false>").run(model, data=weight(8, 16, 8, 8, seed=3), target=target)
    return model


def equal(before: Model, after: Model) -> float:
    session = Session(before, optimize=False)
    feeds = {spec.name: made_up(spec) for spec in session.inputs}
    return relative_error(session.run(feeds), Session(after, optimize=False).run(feeds))


def made_up(spec: TensorSpec) -> np.ndarray:
    shape = [size if isinstance(size, int) else 2 for size in spec.shape]
    return np.random.default_rng(1).standard_normal(shape).astype(spec.dtype)


def test_biases_in_integers_and_unsigned_activations_become_tensorrts() -> None:
    before = with_weight(UNSIGNED)
    after = legalize(before)
    require_legal(after)
    assert equal(before, after) < 1e-6
    names = {node.inputs[2].values.dtype.name for node in after.graph.nodes if node.op == "QuantizeLinear"}
    assert names == {"int8"} and ops(after).count("DequantizeLinear") == 2, "the bias is plain float"
    assert [layer.precision for layer in layers(after.graph)] == ["int8"]


def test_operators_in_integers_become_float_ones_between_pairs() -> None:
    with pytest.raises(PrunaError) as failure:  # its input comes in uint8, which the engine cannot have
        legalize(with_weight(QLINEAR))
    assert failure.value.diagnostic.code == "Q001"
    assert "`x`, of uint8, is an input or output of the model" in str(failure.value)


def test_asymmetric_graph_cannot_be_had_without_rounding_again() -> None:
    with pytest.raises(PrunaError) as failure:
        legalize(quantized("ort-x86-vnni"))
    assert failure.value.diagnostic.code == "Q001" and "quantize<target=tensorrt>" in failure.value.diagnostic.help


def test_the_model_itself_is_left_alone() -> None:
    before = with_weight(UNSIGNED)
    mark = before.fingerprint()
    legalize(before)
    assert before.fingerprint() == mark


def test_attention_is_written_out() -> None:
    before = model_from(ATTENTION, opset=23)
    after = legalize(before)
    assert "Attention" not in ops(after) and "Softmax" in ops(after)
    assert refused(after.graph) == [] and equal(before, after) < 1e-5


def test_further_outputs_that_are_read_are_written_out_and_others_dropped() -> None:
    text = "g (float[2,4] x) => (float[2,4] y{}) <float[4] s = {{1,2,3,4}}> {{ y, m = LayerNormalization (x, s) }}"
    unread, read = (model_from(text.format(more)) for more in ("", ", float[2,1] m"))
    assert ops(legalize(unread)) == ["LayerNormalization"]
    after = legalize(read)
    assert "LayerNormalization" not in ops(after) and refused(after.graph) == [] and equal(read, after) < 1e-5


def test_unread_parts_of_a_split_stay() -> None:
    text = "g (float[6] x) => (float[2] y) <int64[3] s = {2,2,2}> { y, v, w = Split <axis = 0> (x, s) }"
    (node,) = legalize(model_from(text)).graph.nodes
    assert len(node.outputs) == 3


def test_dead_nodes_that_the_parser_would_refuse_are_gone() -> None:
    text = UNSIGNED.replace("y = Conv (d, wd, bd)", "y = Conv (d, wd)").replace("uint8 z = {128}", "int8 z = {0}")
    assert ops(legalize(with_weight(text))).count("DequantizeLinear") == 2


def test_every_node_has_a_name_of_its_own() -> None:
    model = model_from("g (float[4] x) => (float[4] y) { a = Relu (x) b = Exp (a) y = Sin (b) }")
    for node, name in zip(model.graph.nodes, ("", "same", "same"), strict=True):
        node.name = name
    assert [node.name for node in legalize(model).graph.nodes] == ["Relu_a", "same", "same_1"]


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


def test_weights_in_4_bits() -> None:
    text = "g (float[2,128] x) => (float[2,64] y) { h = MatMul (x, a) r = Relu (h) y = MatMul (r, b) }"
    after = legalize(model_from(text, a=weight(128, 64), b=weight(64, 64, seed=1)), "int4-weights")
    require_legal(after)
    assert {layer.precision for layer in layers(after.graph)} == {"int4-weights"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int4-weights"])
def test_float_precision_of_a_quantized_graph(precision: str) -> None:
    with pytest.raises(PrunaError) as failure:
        legalize(quantized(), precision)
    assert failure.value.diagnostic.code == "E004" and f"precision={precision}" in failure.value.diagnostic.message


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
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


def test_all_reasons_are_told_at_once() -> None:
    text = """g (float[2,8,6,6] x, float[a] t) => (float[p,q,r,s] y, float[2,8,6,6] z, float[m] u)
    <float s = {0.1}, int8 z0 = {3}, float s1 = {0}, int8 z1 = {0}> {
        q = QuantizeLinear (x, s, z0) d = DequantizeLinear (q, s, z0)
        e = QuantizeLinear (d, s1, z1) z = DequantizeLinear (e, s1, z1)
        y = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x)
        c = NonMaxThing (t) u = Abs (c)
    }""".replace("NonMaxThing (t)", "com.microsoft.Gelu (t)")
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> {text}')
    with pytest.raises(PrunaError) as failure:
        require_legal(Model.load(proto))
    found = str(failure.value)
    assert failure.value.diagnostic.code == "Q001"
    for reason in ("its zero point is 3", "its scale is 0", "its dilations are [2, 2]", "com.microsoft.Gelu"):
        assert reason in found, reason


def test_operators_alone_are_e004() -> None:
    model = model_from("g (float[4] x, bool[4] b) => (float[n] y) { y = Compress (x, b) }")
    with pytest.raises(PrunaError) as failure:
        TensorrtBackend(build="never").legalize(model)
    assert failure.value.diagnostic.code == "E004"
    assert "Compress, reads [4], [4]): TensorRT has no such operator" in failure.value.diagnostic.notes[0]


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


def test_weights_that_are_rounded_at_load_pass() -> None:
    """QuantizeLinear of a constant, as pytorch-quantization exports it."""
    text = """g (float[1,8,6,6] x) => (float[1,8,6,6] y) <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
        wq = QuantizeLinear <axis = 0> (w, t, u) wd = DequantizeLinear <axis = 0> (wq, t, u)
        y = Conv (d, wd)
    }"""
    scales = np.full(8, 0.02, np.float32)
    after = legalize(model_from(text, w=weight(8, 8, 1, 1), t=scales, u=np.zeros(8, np.int8)))
    require_legal(after)
    assert [layer.precision for layer in layers(after.graph)] == ["int8"]
