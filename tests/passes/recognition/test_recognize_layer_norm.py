"""(x - mean) / deviation over the last axes -> LayerNormalization, and the same without a mean."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered
from onnx_text import weight

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_layer_norm import RecognizeLayerNorm
from pruna_ir.passes.recognition.recognize_rms_norm import RecognizeRmsNorm
from pruna_ir.testing import check_pass, missed, ops, run_pass

MEAN = "m = ReduceMean<axes = [-1]>(x) c = Sub(x, m)"
VARIANCE = "p = Pow(c, #2) v = ReduceMean<axes = [-1]>(p) w = Add(v, #1e-5) s = Sqrt(w)"
NORM = f"{MEAN} {VARIANCE} y = Div(c, s)"
FOLDED = f"{MEAN} {VARIANCE} i = Reciprocal(s) f = Mul(i, g) a = Mul(x, f) b = Mul(m, f) t = Sub(h, b) y = Add(a, t)"
X = {"x": weight(2, 3, 8)}


def norm(body: str, shape: str = "2,3,8", dtype: str = "float", opset: int = 17, **weights: np.ndarray) -> Model:
    return numbered(f"g ({dtype}[{shape}] x) => ({dtype}[{shape}] y) {{ {body} }}", dtype, opset=opset, **weights)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (NORM.replace("[-1]", "[1]"), "the normalized axes [1] are not the last ones of 3"),
        (NORM.replace("[-1]>(p)", "[1, 2]>(p)"), "the mean is over axes [2], the variance over [1, 2]"),
        (NORM.replace("#2", "#3"), "`k_3` is 3, not 2"),
        (
            NORM.replace("#1e-5", "e").replace("p =", "e = Size(x) e2 = Cast<to = 1>(e) p =").replace(", e)", ", e2)"),
            "`e2` is not a constant",
        ),
    ],
)
def test_does_not_fire(body: str, reason: str) -> None:
    model = norm(body)
    after, result = check_pass(RecognizeLayerNorm(), model)
    assert ops(after) == ops(model)
    assert missed(result) == [reason]


def test_dropped_dimensions() -> None:
    model = norm(NORM.replace("<axes = [-1]>", "<axes = [-1], keepdims = 0>"), "8,8,8")
    _, result = check_pass(RecognizeLayerNorm(), model)
    assert missed(result) == ["`m` drops the dimensions that it reduces"]


def test_computed_axes() -> None:
    text = (
        "g (float[2,3,8] x, int64[1] k) => (float[2,3,8] y) {"
        + NORM.replace("<axes = [-1]>(x)", "(x, k)").replace("<axes = [-1]>(p)", "(p, k)")
        + "}"
    )
    _, result = check_pass(RecognizeLayerNorm(), numbered(text, opset=18), feeds={**X, "k": np.array([-1])})
    assert missed(result) == ["`k` is not a constant"]


def test_no_axes_at_all() -> None:
    body = NORM.replace("<axes = [-1]>(x)", "<noop_with_empty_axes = 1>(x)").replace(
        "<axes = [-1]>(p)", "<noop_with_empty_axes = 1>(p)"
    )
    _, result = check_pass(RecognizeLayerNorm(), norm(body, opset=18))
    assert missed(result) == ["`m` reduces nothing"]


def test_a_scalar() -> None:
    text = "g (float x) => (float y) {" + NORM.replace("<axes = [-1]>", "") + "}"
    _, result = check_pass(RecognizeLayerNorm(), numbered(text, opset=17))
    assert missed(result) == ["`m` reduces nothing"]


def test_nothing_to_normalize() -> None:
    _, result = check_pass(RecognizeLayerNorm(), norm(NORM, "0,8"), feeds={"x": np.zeros((0, 8), np.float32)})
    assert missed(result) == ["`x` is empty"]


def test_unknown_size() -> None:
    _, result = check_pass(RecognizeLayerNorm(), norm(NORM, "n,l"), feeds={"x": weight(2, 8)})
    assert missed(result) == ["the size of axis 1 of `x` is not known"]


def test_double_precision() -> None:
    result = run_pass(RecognizeLayerNorm(), norm(NORM, dtype="double"))
    assert missed(result) == ["`x` holds float64, not float16 or float32"]


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1,)])
def test_parameters_of_the_folded_form(shape: tuple[int, ...]) -> None:
    model = norm(FOLDED, g=weight(*shape), h=weight(*shape, seed=1))
    after, _ = check_pass(RecognizeLayerNorm(), model)
    (node,) = after.graph.nodes
    assert [list(tensor.shape) for tensor in node.inputs[1:]] == [[8], [8]]


def test_parameters_of_another_shape() -> None:
    model = norm(FOLDED, g=weight(3, 1), h=weight(8))
    _, result = check_pass(RecognizeLayerNorm(), model)
    assert missed(result) == ["`g` of shape [3, 1] is no scale or bias over [8]"]


def test_computed_parameters() -> None:
    text = f"g (float[2,3,8] x, float[8] k) => (float[2,3,8] y) {{ g = Neg(k) {FOLDED} }}"
    model = numbered(text, opset=17, h=weight(8))
    _, result = check_pass(RecognizeLayerNorm(), model, feeds={**X, "k": weight(8, seed=1)})
    assert missed(result) == ["`g` is not a constant"]


def test_variance_reshaped_in_an_unknown_way() -> None:
    body = NORM.replace(
        "v = ReduceMean<axes = [-1]>(p)", "u = ReduceMean<axes = [-1], keepdims = 0>(p) v = Reshape(u, k)"
    )
    text = f"g (float[n,l,8] x, int64[3] k) => (float[n,l,8] y) {{ {body} }}"
    _, result = check_pass(RecognizeLayerNorm(), numbered(text, opset=17), feeds={**X, "k": np.array([2, 3, 1])})
    (reason,) = missed(result)
    assert reason.endswith("is not known to be `x` reduced")


@pytest.mark.parametrize("body", [NORM, NORM.replace("y = Div(c, s)", "i = Reciprocal(s) y = Mul(c, i)")])
def test_deviations_over_the_root_of_their_mean_square(body: str) -> None:
    """They are a layer normalization, also for the rule that would normalize the deviations."""
    result = run_pass(RecognizeRmsNorm(), norm(body))
    assert missed(result) == []
    assert not result.changed


def test_rms_over_other_axes() -> None:
    body = "p = Pow(x, #2) v = ReduceMean<axes = [0]>(p) w = Add(v, #1e-5) s = Sqrt(w) y = Div(x, s)"
    _, result = check_pass(RecognizeRmsNorm(), norm(body))
    assert missed(result) == ["the normalized axes [0] are not the last ones of 3"]
