"""The function behind a tensor: found where its readers make up one, computed as the runtime does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.quantization.behind import function_behind
from pruna_ir.runtime.session import Session

X = np.linspace(-5, 5, 60, dtype=np.float32).reshape(1, 3, 4, 5)

FUNCTIONS = {
    "leaky relu": "y = LeakyRelu <alpha = 0.1> (t)",
    "relu": "y = Relu(t)",
    "sigmoid": "y = Sigmoid(t)",
    "silu": "s = Sigmoid(t) y = Mul(t, s)",
    "silu, turned around": "s = Sigmoid(t) y = Mul(s, t)",
    "hard swish": "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (t) y = Mul(t, s)",
    "hard swish of parts": "a = Add(t, three) b = Clip(a, zero, six) c = Mul(t, b) y = Div(c, six)",
    "mish": "p = Softplus(t) h = Tanh(p) y = Mul(t, h)",
    "gelu of parts": "d = Div(t, root) e = Erf(d) a = Add(e, one) m = Mul(t, a) y = Mul(m, half)",
    "square": "y = Mul(t, t)",
    "shared slope": "y = PRelu(t, slope)",
}
CONSTANTS = (
    "<float three = {3.0}, float zero = {0.0}, float six = {6.0}, float root = {1.41421356}, float one = {1.0}, "
    "float half = {0.5}, float[1] slope = {0.25}, float[3,1,1] slopes = {0.1, 0.2, 0.3}, "
    "float[3,1,1] several = {1.0, 2.0, 3.0}>"
)


def model_of(body: str, outputs: str = "float[1,3,4,5] y") -> Model:
    text = f"g (float[1,3,4,5] x, float[1,3,4,5] z) => ({outputs}) {CONSTANTS} {{ t = Neg(x) {body} }}"
    return model_from(text)


def behind(model: Model) -> object:
    outputs = {id(tensor) for tensor in model.graph.outputs}
    return function_behind(model.graph.tensors()["t"], outputs)


@pytest.mark.parametrize("body", FUNCTIONS.values(), ids=FUNCTIONS)
def test_computes_what_the_runtime_does(body: str) -> None:
    """Up to where the results meet first; a linear rest, as HardSwish's division, changes no choice."""
    model = model_of(body)
    function = behind(model)
    assert callable(function)
    wanted = Session(model).run({"x": X, "z": X})["y"]
    found = function(-X)
    factor = np.dot(found.reshape(-1), wanted.reshape(-1)) / np.square(found).sum()
    np.testing.assert_allclose(found * factor, wanted, rtol=1e-4, atol=1e-5)
    assert factor == pytest.approx(1.0, abs=1e-3) or "six)" in body or "half" in body


def test_slopes_of_their_own_count_by_their_mean_square() -> None:
    function = behind(model_of("y = PRelu(t, slopes)"))
    assert callable(function)
    np.testing.assert_allclose(function(np.array([-1.0, 2.0])), [-np.sqrt(0.14 / 3), 2.0])


@pytest.mark.parametrize(
    "body",
    [
        "y = Softmax(t)",
        "y = Mul(t, z)",
        "y = Mul(t, several)",
        "s = Sigmoid(t) a = Softmax(t) y = Mul(s, a)",
        "s = Sigmoid(t) u = Mul(t, s) q = Softmax(s) y = Add(u, q)",
        "y = Custom.Relu(t)",
    ],
    ids=["not elementwise", "another tensor", "several values", "another reader", "read in between", "another domain"],
)
def test_no_function(body: str) -> None:
    if "Custom" in body:
        model = model_of("y = Relu(t)")
        next(node for node in model.graph.nodes if node.op == "Relu").domain = "custom"
    else:
        model = model_of(body)
    assert behind(model) is None


@pytest.mark.parametrize("also", ["t", "s"])
def test_graph_outputs_are_seen_as_they_are(also: str) -> None:
    body = "s = Sigmoid(t) y = Mul(t, s)"
    assert behind(model_of(body, f"float[1,3,4,5] y, float[1,3,4,5] {also}")) is None


def test_values_that_are_not_finite_count_as_zero() -> None:
    function = behind(model_of("y = Div(one, t)"))
    assert callable(function)
    np.testing.assert_array_equal(function(np.array([0.0, 2.0])), [0.0, 0.5])
