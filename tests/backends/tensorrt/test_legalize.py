"""Graphs of all kinds, made into what TensorRT takes; and those that cannot be, with all the reasons."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight
from tensorrt_graphs import bytes_of, equal, quantized

from pruna_ir.backends.tensorrt import operators
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.legality import require_legal
from pruna_ir.backends.tensorrt.legalize import legalize
from pruna_ir.backends.tensorrt.operators import refused
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
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


def with_weight(text: str) -> Model:
    weights = onnx.numpy_helper.from_array(bytes_of(8, 8, 1, 1), "w")
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text.replace("int8[8,8,1,1] w, ", "")}')
    proto.graph.initializer.append(weights)
    return Model.load(proto)


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


@pytest.mark.parametrize(("kind", "bound"), [("float", 1e-5), ("float16", 2e-3)])
def test_attention_is_written_out(kind: str, bound: float) -> None:
    before = model_from(ATTENTION.replace("float", kind), opset=23)
    after = legalize(before)
    assert "Attention" not in ops(after) and "Softmax" in ops(after)
    assert refused(after.graph) == [] and equal(before, after) < bound


DYNAMIC = """g (float[3,16] x) => (float[3,16] y) <float t = {0.01}> {
    q, s, z = DynamicQuantizeLinear (x)
    m = MatMulInteger (q, w, z)
    c = Cast <to = 1> (m)
    u = Mul (s, t)
    y = Mul (c, u)
}"""
INTEGERS = "g (uint8[3,16] x) => (int32[3,16] y) { y = MatMulInteger (x, w) }"


def test_weights_of_products_that_quantize_at_run_time_stay_integers() -> None:
    before = model_from(DYNAMIC, w=bytes_of(16, 16))
    after = legalize(before)
    require_legal(after)
    assert ops(after) == ["DequantizeLinear", "MatMul"]
    assert equal(before, after) < 0.02, "the input is no longer rounded"


def test_products_of_integers_are_written_out() -> None:
    before = model_from(INTEGERS, w=bytes_of(16, 16))
    after = legalize(before)
    require_legal(after)
    assert ops(after) == ["Cast", "MatMul", "Cast"]
    feeds = {"x": np.random.default_rng(1).integers(0, 255, (3, 16)).astype(np.uint8)}
    expected, found = (Session(model, optimize=False).run(feeds)["y"] for model in (before, after))
    np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("text", ["y = DequantizeLinear (q, s, z)", "c = Cast <to = 1> (q) y = Mul (c, s)"])
def test_quantization_at_run_time_becomes_arithmetic(text: str) -> None:
    before = model_from(f"g (float[3,16] x) => (float[3,16] y) {{ q, s, z = DynamicQuantizeLinear (x) {text} }}")
    after = legalize(before)
    require_legal(after)
    assert {"Round", "Clip"} <= set(ops(after)) and not {"DynamicQuantizeLinear", "QuantizeLinear"} & set(ops(after))
    assert equal(before, after) < 1e-5


@pytest.mark.parametrize(
    ("node", "becomes"),
    [
        ("MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x)", "Slice"),
        ("AveragePool <kernel_shape = [2,2], dilations = [2,2]> (x)", "Slice"),
        ("LpPool <kernel_shape = [2,2], p = 3> (x)", "Pow"),
    ],
)
def test_pools_that_the_parser_lacks_are_written_out(node: str, becomes: str) -> None:
    before = model_from(f"g (float[1,4,9,9] x) => (float[a,b,c,d] y) {{ y = {node} }}", opset=19)
    after = legalize(before)
    require_legal(after)
    assert becomes in ops(after) and equal(before, after) < 1e-5


def test_pools_that_the_parser_has_stay() -> None:
    text = "g (float[1,4,9,9] x) => (float[a,b,c,d] y) { y = MaxPool <kernel_shape = [2,2]> (x) }"
    assert ops(legalize(model_from(text))) == ["MaxPool"]


def test_small_integers_between_casts_are_held_in_int32() -> None:
    text = "g (float[8] x) => (float[8] y) { a = Round (x) b = Cast <to = {}> (a) y = Cast <to = 1> (b) }"
    for kind in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT16):
        before = model_from(text.replace("{}", str(kind)))
        after = legalize(before)
        require_legal(after)
        feeds = {"x": np.linspace(0, 100, 8, dtype=np.float32)}
        expected, found = (Session(model, optimize=False).run(feeds)["y"] for model in (before, after))
        np.testing.assert_array_equal(expected, found)


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


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        ("r = Relu (x) y = Add (r, x)", 14),
        ("r = Relu (x) y = Gelu (r)", 20),
        ("r = Exp (x) y = Erf (r)", 13),
        ("y = Mish (x)", 22),
    ],
)
def test_opset_is_the_oldest_that_means_the_same(text: str, opset: int) -> None:
    before = model_from(f"g (float[4] x) => (float[4] y) {{ {text} }}", opset=28)
    after = legalize(before)
    assert (after.opset, equal(before, after)) == (opset, 0)


def test_operators_of_later_opsets_than_the_parsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "NEWEST_OPSET", 23)
    model = model_from("g (float[4] x) => (float[4] y) { r = Relu (x) y = Swish (r) }", opset=24)
    assert [(node.op, why) for node, why, _ in refused(model.graph)] == [
        ("Swish", "it is that of opset 24, and TensorRT knows up to 23")
    ]


def test_every_node_has_a_name_of_its_own() -> None:
    model = model_from("g (float[4] x) => (float[4] y) { a = Relu (x) b = Exp (a) y = Sin (b) }")
    for node, name in zip(model.graph.nodes, ("", "same", "same"), strict=True):
        node.name = name
    assert [node.name for node in legalize(model).graph.nodes] == ["Relu_a", "same", "same_1"]


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


def test_open_dimensions_are_told_with_operators() -> None:
    model = model_from("g (float[n,a] x, bool[4] b) => (float[c] y) { y = Compress (x, b) }")
    with pytest.raises(PrunaError) as failure:
        TensorrtBackend(build="never").legalize(model)
    assert failure.value.diagnostic.code == "E004"
    first, *_, last = failure.value.diagnostic.notes
    assert "Compress" in first and last == "`a`: axis 1 of `x`"


def test_open_dimensions_are_told_with_broken_pairs() -> None:
    text = """g (float[n,a] x) => (float[n,a] y) <float s = {0.1}, int8 z = {3}> {
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)
    }"""
    with pytest.raises(PrunaError) as failure:
        TensorrtBackend(build="never").legalize(model_from(text))
    assert failure.value.diagnostic.code == "Q001" and failure.value.diagnostic.notes[-1] == "`a`: axis 1 of `x`"


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
