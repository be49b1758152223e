"""Where transposes stand in whole graphs: only where two layouts meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import agrees, program
from onnx_text import model_from, weight

from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

IMAGE = {"x": weight(1, 3, 8, 8, seed=9)}
CONV = "Conv<pads=[1,1,1,1]>"


def test_one_transpose_at_each_end() -> None:
    text = f"g (float[1,3,8,8] x) => (float[1,4,8,8] y) {{ a = {CONV}(x, w) b = Sigmoid(a) y = {CONV}(b, v) }}"
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), v=weight(4, 4, 3, 3)), IMAGE)
    assert found == ["TRANSPOSE", "CONV_2D", "LOGISTIC", "CONV_2D", "TRANSPOSE"]


@pytest.mark.parametrize(
    "body",
    [
        "b = Add(a, c) y0 = Mul(b, a)",
        "b = Concat<axis=1>(a, a, a) s = Split<axis=1, num_outputs=3>(b) y0 = Identity(s)",
        "b = Softmax<axis=1>(a) y0 = Div(b, c)",
        "b = ReduceMean<keepdims=1>(a, axes) y0 = Sub(a, b)",
        "b = Slice(a, begin, end, axes) y0 = Concat<axis=2>(b, b)",
        "b = Pad(a, pads) y0 = MaxPool<kernel_shape=[3,3]>(b)",
        "b = Transpose<perm=[0,2,3,1]>(a) d = LeakyRelu(b) y0 = Transpose<perm=[0,3,1,2]>(d)",
    ],
)
def test_no_transpose_inside_of_convolutional_regions(body: str) -> None:
    body = body.replace("s = Split<axis=1, num_outputs=3>(b) y0 = Identity(s)", "y0 = Sigmoid(b)")
    channels = 12 if "Sigmoid" in body else 4
    text = f"g (float[1,3,8,8] x) => (float[1,5,k,k] y) {{ a = {CONV}(x, w) {body} y = Conv(y0, v) }}"
    constants: dict[str, Any] = {
        "c": weight(4, 1, 1, seed=3),
        "axes": np.array([2]),
        "begin": np.array([0]),
        "end": np.array([4]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }
    used: dict[str, Any] = {
        name: value for name, value in constants.items() if f" {name}" in body or f"({name}" in body
    }
    model = model_from(text, opset=18, w=weight(4, 3, 3, 3), v=weight(5, channels, 2, 2), **used)
    found = agrees(model, IMAGE)
    assert found.count("TRANSPOSE") == 2 and found[0] == found[-1] == "TRANSPOSE"


def test_a_transpose_that_is_the_change_of_layout_costs_nothing() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,8,8,5] y) {{
      a = {CONV}(x, w) t = Transpose<perm=[0,2,3,1]>(a) y = MatMul(t, m) }}"""
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), m=weight(4, 5)), IMAGE)
    assert found == ["TRANSPOSE", "CONV_2D", "FULLY_CONNECTED"]


def test_detector_heads_are_joined_where_they_lie() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,80,6] y) {{
      a = {CONV}(x, w) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
      b = {CONV}(p, v) r = Reshape(a, s) q = Reshape(b, s) c = Concat<axis=2>(r, q) y = Transpose<perm=[0,2,1]>(c) }}"""
    constants: dict[str, Any] = {"w": weight(6, 3, 3, 3), "v": weight(6, 6, 3, 3), "s": np.array([1, 6, -1])}
    assert agrees(model_from(text, **constants), IMAGE).count("TRANSPOSE") == 1


def test_channels_are_shuffled_by_one_transpose() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,4,8,8] y) {{
      a = {CONV}(x, w) r = Reshape(a, s) t = Transpose<perm=[0,2,1,3,4]>(r) u = Reshape(t, o) y = {CONV}(u, v) }}"""
    constants: dict[str, Any] = {"s": np.array([1, 2, 2, 8, 8]), "o": np.array([1, 4, 8, 8])}
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), v=weight(4, 4, 3, 3), **constants), IMAGE)
    assert found.count("TRANSPOSE") == 3


def test_pooled_channels_are_reshaped() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,5] y) {{
      a = {CONV}(x, w) p = GlobalAveragePool(a) f = Flatten(p) y = MatMul(f, m) }}"""
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), m=weight(4, 5)), IMAGE)
    assert found == ["TRANSPOSE", "CONV_2D", "MEAN", "RESHAPE", "FULLY_CONNECTED"]


def test_flattened_images_are_read_as_they_lie() -> None:
    text = f"""g (float[n,3,8,8] x) => (float[n,5] y, float[n,6] z) {{
      a = {CONV}(x, w) f = Flatten(a) r = Relu(f) y = MatMul(r, m) z = Gemm<transB=1>(f, k) }}"""
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), m=weight(256, 5), k=weight(6, 256)), IMAGE)
    assert found.count("TRANSPOSE") == 1


def test_flattened_images_that_others_read_are_transposed() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,5] y, float[1,256] f) {{
      a = {CONV}(x, w) f = Flatten(a) y = MatMul(f, m) }}"""
    found = agrees(model_from(text, w=weight(4, 3, 3, 3), m=weight(256, 5)), IMAGE)
    assert found.count("TRANSPOSE") == 2


def test_integers_are_moved_not_floats() -> None:
    text = f"""g (float[1,3,8,8] x) => (float[1,4,8,8] y) {{
      q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = {CONV}(d, w) }}"""
    model = model_from(text, w=weight(4, 3, 3, 3), s=np.float32(0.02), z=np.int8(3))
    moved = [operator.inputs[0] for operator in program(model).operators if operator.code == "TRANSPOSE"]
    assert [tensor.dtype.name for tensor in moved if tensor is not None] == ["int8", "float32"]


def conv() -> Model:
    text = f"g (float[1,3,8,8] x) => (float[1,4,8,8] y) {{ y = {CONV}(x, w) }}"
    return model_from(text, w=weight(4, 3, 3, 3))


def test_images_at_the_border_with_channels_last() -> None:
    made = lower(conv(), io="nhwc")
    assert [operator.code for operator in made.operators] == ["CONV_2D"]
    assert made.inputs[0].permutation == made.outputs[0].permutation == (0, 2, 3, 1)
    session = LiteSession(write(made))
    found = session.native
    found.set_tensor(found.get_input_details()[0]["index"], np.ascontiguousarray(IMAGE["x"].transpose(0, 2, 3, 1)))
    found.invoke()
    wanted = Session(conv(), optimize=False).run(IMAGE)["y"]
    result = found.get_tensor(found.get_output_details()[0]["index"])
    np.testing.assert_allclose(result.transpose(0, 3, 1, 2), wanted, atol=1e-5)


def test_the_border_is_that_of_onnx_by_default() -> None:
    made = lower(conv())
    assert made.inputs[0].permutation is None and made.inputs[0].tensor.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(("io", "shape"), [("onnx", (1, 8, 8, 3)), ("nhwc", (1, 8, 8, 3)), ("nchw", (1, 3, 8, 8))])
@pytest.mark.parametrize("quantized", [False, True])
def test_images_that_onnx_has_with_channels_last(io: str, shape: tuple[int, ...], quantized: bool) -> None:
    pair = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)" if quantized else "d = Identity(x)"
    text = f"""g (float[1,8,8,3] x) => (float[1,8,8,4] y) {{
      {pair} t = Transpose<perm=[0,3,1,2]>(d) a = {CONV}(t, w) y = Transpose<perm=[0,2,3,1]>(a) }}"""
    scale = {"s": np.float32(0.02), "z": np.int8(3)} if quantized else {}
    made = lower(legalize(model_from(text, w=weight(4, 3, 3, 3), **scale)), io=io)  # type: ignore[arg-type]
    assert made.inputs[0].tensor.shape == shape
    turned = (0, 3, 1, 2) if io == "nchw" else None
    assert made.inputs[0].permutation == made.outputs[0].permutation == turned
    assert sum(operator.code == "TRANSPOSE" for operator in made.operators) == (2 if io == "nchw" else 0)


def test_flattened_integers_are_read_as_they_lie() -> None:
    text = f"""g (float[n,3,8,8] x) => (float[n,5] y) {{
      a = {CONV}(x, w) b = Relu(a) f = Flatten(b) y = Gemm<transB=1>(f, k) }}"""
    model = model_from(text, w=weight(16, 3, 3, 3), k=weight(5, 1024))
    samples = [{"x": weight(1, 3, 8, 8, seed=seed)} for seed in range(8)]
    manager = PassManager.parse("quantize<target=tflite;guard=false>")
    manager.run(model, data=Dataset.of(samples), target="tflite")
    legal = legalize(model)
    made = lower(legal)
    codes = [operator.code for operator in made.operators]
    assert codes.count("TRANSPOSE") == 1 and "FULLY_CONNECTED" in codes and not made.remarks
    wanted = Session(legal, optimize=False).run(samples[0])["y"]
    found = LiteSession(write(made)).run(samples[0])
    np.testing.assert_allclose(next(iter(found.values())), wanted, atol=np.ptp(wanted) / 60)
