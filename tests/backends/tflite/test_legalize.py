"""What a graph becomes before it is written: fixed shapes, and weights in fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import agrees
from onnx_text import model_from, positive, weight

from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.runtime.session import Session
from pruna_ir.testing import largest_difference, ops

IMAGE = {"x": weight(1, 8, 12, 12, seed=9)}


def network(batch: str = "n") -> Model:
    text = f"""g (float[{batch},8,12,12] x) => (float[{batch},10] y) {{
      a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<group=32>(b, v) p = GlobalAveragePool(c)
      f = Flatten(p) y = MatMul(f, m) }}"""
    return model_from(text, w=weight(32, 8, 3, 3), v=weight(32, 1, 6, 6), m=weight(32, 10, seed=3) * 9)


@pytest.mark.parametrize("batch", [1, 4])
def test_open_batches_are_bound(batch: int) -> None:
    original = network()
    legal = legalize(original, batch)
    assert [spec.shape for spec in [*legal.inputs(), *legal.outputs()]] == [(batch, 8, 12, 12), (batch, 10)]
    assert original.inputs()[0].shape[0] == "n"


def test_fixed_shapes_stay() -> None:
    assert legalize(network("3"), 7).inputs()[0].shape == (3, 8, 12, 12)


def test_shapes_that_are_computed_become_constants() -> None:
    text = """g (float[n,6] x) => (float[m,k,2] y) {
      s = Shape(x) one = Slice(s, zero, first) c = Concat<axis=0>(one, rest) y = Reshape(x, c) }"""
    indices: dict[str, Any] = {"zero": np.array([0]), "first": np.array([1]), "rest": np.array([-1, 2])}
    legal = legalize(model_from(text, **indices))
    assert ops(legal) == ["Reshape"] and legal.outputs()[0].shape == (1, 3, 2)


def test_batch_normalization_goes_into_convolutions() -> None:
    text = "g (float[1,8,12,12] x) => (float[1,4,10,10] y) { a = Conv(x, w) y = BatchNormalization(a, g, b, m, v) }"
    constants: dict[str, Any] = {
        "g": positive(4),
        "b": weight(4, seed=1),
        "m": weight(4, seed=2),
        "v": positive(4, seed=3),
    }
    found = agrees(model_from(text, w=weight(4, 8, 3, 3), **constants), IMAGE)
    assert found == ["TRANSPOSE", "CONV_2D", "TRANSPOSE"]


@pytest.mark.parametrize(("weights", "share", "error"), [("float16", 0.6, 1e-5), ("int8", 0.5, 2e-2)])
def test_weights_in_fewer_bits(weights: str, share: float, error: float) -> None:
    legal = legalize(network(), weights=weights)
    wanted = Session(legal, optimize=False).run(IMAGE)
    plain = Session(legalize(network()), optimize=False).run(IMAGE)
    assert 0 < relative_error(plain, wanted) < 0.02
    content = write(lower(legal, weights=weights))
    assert len(content) < share * len(write(lower(legalize(network()))))
    for delegate in (True, False):
        assert relative_error(wanted, LiteSession(content, delegate=delegate).run(IMAGE)) <= error


def test_small_weights_stay_in_float() -> None:
    text = "g (float[1,2] x) => (float[1,3] y) { y = MatMul(x, m) }"
    assert ops(legalize(model_from(text, m=weight(2, 3)), weights="int8")) == ["MatMul"]


def test_weights_that_16_bits_do_not_hold_stay() -> None:
    text = "g (float[1,2] x) => (float[1,3] y) { y = MatMul(x, m) }"
    source = model_from(text, m=weight(2, 3) * 1e6)
    legal = legalize(source, weights="float16")
    feeds = {"x": np.ones((1, 2), np.float32)}
    assert relative_error(Session(source).run(feeds), Session(legal).run(feeds)) == 0


def test_a_gelu_is_found_whatever_the_opset() -> None:
    text = """g (float[2,4] x) => (float[2,4] y) {
        d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) h = Mul(m, half) n = ReduceMean<axes=[1]>(h)
        y = Sub(h, n)
    }"""
    model = model_from(text, root=np.float32(np.sqrt(2)), one=np.float32(1), half=np.float32(0.5))
    legal = legalize(model)
    assert ops(legal) == ["Gelu", "ReduceMean", "Sub"]
    assert isinstance(legal.graph.nodes[1].inputs[1], gs.Constant)
    assert largest_difference(model, legal) < 1e-6
    assert model.opset == 17


def test_a_mish_is_found_whatever_the_opset() -> None:
    """Written out, it ends in log(1 + exp(x)), of which little is left where exp(x) is small."""
    model = model_from("g (float[1,64] x) => (float[1,64] y) { s = Softplus(x) t = Tanh(s) y = Mul(x, t) }")
    assert ops(legalize(model)) == ["Mish"]
    feeds = {"x": np.linspace(-16, -8, 64, dtype=np.float32)[None]}
    agrees(model, feeds)
    exact = feeds["x"] * np.tanh(np.log1p(np.exp(feeds["x"].astype(np.float64))))
    found = LiteSession(write(lower(legalize(model)))).run(feeds)["y"]
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_slices_of_an_image_become_part_of_the_convolution() -> None:
    """XNNPACK has no kernel for slices with strides."""
    text = """g (float[1,3,8,8] x) => (float[1,4,4,4] y) {
        a = Slice(x, at00, ends, axes, steps) b = Slice(x, at10, ends, axes, steps)
        c = Slice(x, at01, ends, axes, steps) d = Slice(x, at11, ends, axes, steps)
        e = Concat<axis=1>(a, b, c, d) y = Conv<pads=[1,1,1,1]>(e, w)
    }"""
    starts: dict[str, Any] = {f"at{y}{x}": np.array([y, x]) for y in range(2) for x in range(2)}
    places: dict[str, Any] = {"ends": np.array([8, 8]), "axes": np.array([2, 3]), "steps": np.array([2, 2])}
    model = model_from(text, w=weight(4, 12, 3, 3), **starts, **places)
    assert ops(legalize(model)) == ["Conv"]
    agrees(model, {"x": weight(1, 3, 8, 8, seed=4)})


def test_other_models_keep_their_opset() -> None:
    assert legalize(model_from("g (float[2,4] x) => (float[2,4] y) { y = Erf(x) }")).opset == 17
