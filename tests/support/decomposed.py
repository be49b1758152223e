"""Operators written as simpler ones, in the forms that exporters use: what recognition rules must find."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx_text import model_from

from pruna_ir.model import Model

_NUMBER = re.compile(r"#(-?[0-9.]+(?:e-?[0-9]+)?)")


@dataclass(frozen=True)
class Idiom:
    """Nodes that compute `y` from `x`, and the one node that does the same.

    In `body`, `#0.5` is a scalar constant. `weights` are further constants.
    """

    rule: str
    body: str
    op: str
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    shape: str = "2,3,8"
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def model(self, *, dtype: str = "float", outputs: str = "", more: str = "", opset: int | None = None) -> Model:
        """The idiom as a model; `more` are further nodes, `outputs` further outputs."""
        return numbered(
            f"g ({dtype}[{self.shape}] x) => ({dtype}[{self.shape}] y{outputs}) {{ {self.body} {more} }}",
            dtype,
            opset=opset or self.opset,
            **self.weights,
        )


def numbered(text: str, dtype: str = "float", *, opset: int, **weights: np.ndarray) -> Model:
    """A model from text in which `#0.5` is a scalar constant of `dtype`; `weights` that are floats have it as well."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(dtype.upper()))
    constants: dict[str, Any] = {
        name: value.astype(kind) if value.dtype.kind == "f" else value for name, value in weights.items()
    }

    def name(found: re.Match[str]) -> str:
        label = f"k_{re.sub('[^0-9]', '_', found[1])}"
        constants[label] = np.array(float(found[1]), kind)
        return label

    return model_from(_NUMBER.sub(name, text), opset=opset, **constants)


_ERF = "a = Div(x, #1.4142135) e = Erf(a) f = Add(e, #1)"
_CUBE = "p = Pow(x, #3) q = Mul(p, #0.044715) r = Add(x, q) s = Mul(r, #0.7978845608) t = Tanh(s) f = Add(t, #1)"
_TANH = {"approximate": "tanh"}
_SIXTHS = {"alpha": 1 / 6, "beta": 0.5}


def _gelu(body: str, **attributes: Any) -> Idiom:
    return Idiom("recognize-gelu", body, "Gelu", attributes)


def _hard_sigmoid(body: str, **attributes: Any) -> Idiom:
    return Idiom("recognize-hard-sigmoid", body, "HardSigmoid", attributes or _SIXTHS)


def _hard_swish(body: str) -> Idiom:
    return Idiom("recognize-hard-swish", body, "HardSwish")


def _swish(body: str, **attributes: Any) -> Idiom:
    return Idiom("recognize-swish", body, "Swish", attributes, opset=24)


ACTIVATIONS = (
    _gelu(f"{_ERF} m = Mul(x, f) y = Mul(m, #0.5)"),
    _gelu(f"{_ERF} h = Mul(x, #0.5) y = Mul(h, f)"),
    _gelu(f"{_ERF} h = Mul(#0.5, f) y = Mul(h, x)"),
    _gelu(f"{_ERF} m = Mul(f, x) y = Div(m, #2)"),
    _gelu("a = Mul(#0.70710678, x) e = Erf(a) f = Sum(#1, e) h = Mul(#0.5, x) y = Mul(h, f)"),
    _gelu("a = Mul(x, #0.70710678) e = Erf(a) h = Mul(e, #0.5) f = Add(h, #0.5) y = Mul(f, x)"),
    _gelu(f"{_CUBE} m = Mul(x, f) y = Mul(m, #0.5)", **_TANH),
    _gelu(f"{_CUBE} h = Mul(#0.5, x) y = Mul(f, h)", **_TANH),
    _gelu(
        "p = Mul(x, x) q = Mul(p, x) r = Mul(#0.044715, q) s = Add(r, x) u = Mul(s, #0.7978845608) t = Tanh(u)"
        " f = Add(#1, t) h = Mul(x, #0.5) y = Mul(h, f)",
        **_TANH,
    ),
    _gelu(
        "p = Mul(x, x) q = Mul(p, #0.044715) r = Add(q, #1) s = Mul(r, x) u = Mul(s, #0.7978845608) t = Tanh(u)"
        " f = Add(t, #1) h = Mul(x, #0.5) y = Mul(h, f)",
        **_TANH,
    ),
    _gelu(
        "p = Pow(x, #3) q = Mul(p, #0.044715) r = Add(x, q) u = Mul(r, #1.5957691216) t = Sigmoid(u) y = Mul(x, t)",
        **_TANH,
    ),
    _hard_sigmoid("a = Add(x, #3) b = Clip(a, #0, #6) y = Div(b, #6)"),
    _hard_sigmoid("a = Add(#3, x) b = Relu(a) c = Min(b, #6) y = Mul(b1, c) ".replace("b1", "#0.16666667")),
    _hard_sigmoid("a = Mul(x, #0.2) b = Add(a, #0.5) y = Clip(b, #0, #1)", alpha=0.2, beta=0.5),
    _hard_sigmoid("a = Div(x, #6) b = Add(a, #0.5) c = Max(b, #0) y = Min(#1, c)"),
    _hard_sigmoid("a = Mul(x, #0.2) b = Add(a, #0.5) c = Min(b, #1) y = Max(c, #0)", alpha=0.2, beta=0.5),
    _hard_swish("a = Add(x, #3) b = Clip(a, #0, #6) c = Mul(x, b) y = Div(c, #6)"),
    _hard_swish("a = Add(x, #3) b = Clip(a, #0, #6) c = Mul(b, #0.16666667) y = Mul(x, c)"),
    _hard_swish("a = Add(x, #3) b = Max(a, #0) c = Min(b, #6) d = Mul(c, x) y = Mul(d, #0.16666667)"),
    _hard_swish("a = Mul(x, #0.16666667) b = Add(a, #0.5) c = Clip(b, #0, #1) y = Mul(x, c)"),
    _hard_swish("a = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(a, x)"),
    _hard_swish("a = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, a)"),
    Idiom("recognize-mish", "a = Softplus(x) b = Tanh(a) y = Mul(x, b)", "Mish"),
    Idiom("recognize-mish", "a = Softplus(x) b = Tanh(a) y = Mul(b, x)", "Mish"),
    Idiom("recognize-softplus", "a = Exp(x) b = Add(a, #1) y = Log(b)", "Softplus", opset=13),
    Idiom("recognize-softplus", "a = Exp(x) b = Add(#1, a) y = Log(b)", "Softplus"),
    Idiom("recognize-unlimited-softplus", "b = Greater(x, #20) a = Softplus(x) y = Where(b, x, a)", "Softplus"),
    Idiom("recognize-softsign", "a = Abs(x) b = Add(#1, a) y = Div(x, b)", "Softsign", opset=13),
    _swish("a = Sigmoid(x) y = Mul(x, a)"),
    _swish("a = Mul(x, #1.702) b = Sigmoid(a) y = Mul(b, x)", alpha=1.702),
    _swish("n = Neg(x) a = Exp(n) b = Add(a, #1) y = Div(x, b)"),
)

# Axes, shapes and parameters that the idioms read.
_CONSTANTS = {
    "last": np.array([-1]),
    "third": np.array([2]),
    "two": np.array([1, 2]),
    "space": np.array([2, 3]),
    "none": np.array([], np.int64),
    "reduced": np.array([2, 3, 1]),
    "full": np.array([2, 3, 8]),
    "gamma": np.linspace(0.5, 1.5, 8),
    "beta": np.linspace(-1.0, 1.0, 8),
}
_LAST = {"axis": -1, "epsilon": 1e-5}


def _layer_norm(body: str, opset: int = 18, **attributes: Any) -> Idiom:
    return Idiom("recognize-layer-norm", body, "LayerNormalization", attributes or _LAST, opset, weights=_CONSTANTS)


def _rms_norm(body: str, **attributes: Any) -> Idiom:
    return Idiom("recognize-rms-norm", body, "RMSNormalization", attributes or _LAST, 23, weights=_CONSTANTS)


def _instance_norm(body: str, opset: int = 18) -> Idiom:
    attributes = {"epsilon": 1e-5}
    shape = "2,3,4,5"
    return Idiom("recognize-instance-norm", body, "InstanceNormalization", attributes, opset, shape, _CONSTANTS)


def _l2_norm(body: str) -> Idiom:
    return Idiom("recognize-l2-norm", body, "LpNormalization", {"axis": 2, "p": 2}, 18, weights=_CONSTANTS)


_CENTERED = "m = ReduceMean(x, last) c = Sub(x, m) p = Pow(c, #2) v = ReduceMean(p, last) w = Add(v, #1e-5)"

NORMS = (
    _layer_norm(f"{_CENTERED} s = Sqrt(w) y = Div(c, s)"),
    _layer_norm(f"{_CENTERED} s = Sqrt(w) i = Reciprocal(s) y = Mul(c, i)"),
    _layer_norm(f"{_CENTERED} s = Sqrt(w) i = Div(#1, s) y = Mul(i, c)"),
    _layer_norm(f"{_CENTERED} i = Pow(w, #-0.5) y = Mul(c, i)"),
    _layer_norm(f"{_CENTERED} s = Pow(w, #0.5) y = Div(c, s)"),
    _layer_norm(
        "m = ReduceMean<axes = [-1]>(x) c = Sub(x, m) d = Sub(x, m) p = Mul(c, c) v = ReduceMean<axes = [2]>(p)"
        " w = Add(#1e-5, v) s = Sqrt(w) y = Div(d, s)",
        17,
    ),
    _layer_norm(
        "m = ReduceMean(x, last) p = Mul(x, x) q = ReduceMean(p, last) r = Mul(m, m) v = Sub(q, r) w = Add(v, #1e-5)"
        " s = Sqrt(w) c = Sub(x, m) y = Div(c, s)"
    ),
    _layer_norm(f"{_CENTERED} s = Sqrt(w) y = Div(c, s)".replace("last", "two"), axis=-2, epsilon=1e-5),
    _layer_norm(f"{_CENTERED} s = Sqrt(w) y = Div(c, s)".replace("last", "none"), axis=-3, epsilon=1e-5),
    _layer_norm(
        f"{_CENTERED} s = Sqrt(w) i = Reciprocal(s) f = Mul(i, gamma) a = Mul(x, f) b = Mul(m, f) t = Sub(beta, b)"
        " y = Add(a, t)"
    ),
    _layer_norm(f"{_CENTERED} s = Sqrt(w) i = Reciprocal(s) f = Mul(i, gamma) y = Mul(c, f)"),
    _layer_norm(
        "m = ReduceMean(x, last) p = Mul(x, x) q = ReduceMean(p, last) r = Mul(m, m) u = Sub(q, r) v = Max(u, #0)"
        " w = Add(v, #1e-5) i = Pow(w, #-0.5) f = Mul(gamma, i) c = Sub(x, m) y = Mul(c, f)"
    ),
    _rms_norm("p = Pow(x, #2) v = ReduceMean(p, last) w = Add(v, #1e-5) s = Sqrt(w) y = Div(x, s)"),
    _rms_norm("p = Mul(x, x) v = ReduceMean(p, last) w = Add(#1e-5, v) s = Sqrt(w) i = Reciprocal(s) y = Mul(x, i)"),
    _rms_norm("p = Pow(x, #2) v = ReduceMean(p, last) w = Add(v, #1e-5) i = Pow(w, #-0.5) y = Mul(i, x)"),
    _rms_norm(
        "p = Mul(x, x) v = ReduceMean(p, last) w = Add(v, #1e-5) i = Pow(w, #-0.5) f = Mul(i, gamma) y = Mul(f, x)"
    ),
    _rms_norm(
        "p = Pow(x, #2) v = ReduceMean(p, two) w = Add(v, #1e-5) s = Sqrt(w) y = Div(x, s)", axis=-2, epsilon=1e-5
    ),
    _instance_norm(f"{_CENTERED} s = Sqrt(w) y = Div(c, s)".replace("last", "space")),
    _instance_norm(
        "m = ReduceMean<axes = [2, 3]>(x) c = Sub(x, m) p = Mul(c, c) v = ReduceMean<axes = [-1, -2]>(p)"
        " w = Add(v, #1e-5) s = Sqrt(w) i = Reciprocal(s) y = Mul(c, i)",
        17,
    ),
    _layer_norm(
        "m = ReduceMean(x, last) c = Sub(x, m) n = ReduceMean(x, third) d = Sub(x, n) p = Mul(d, d)"
        " u = ReduceMean<keepdims = 0>(p, third) v = Reshape(u, reduced) w = Add(v, #1e-5) s = Sqrt(w) y = Div(c, s)"
    ),
    Idiom(
        "recognize-group-norm",
        "r = Reshape(x, groups) n = InstanceNormalization<epsilon = 0.001>(r, three, two) y = Reshape(n, shape)",
        "GroupNormalization",
        {"num_groups": 2, "epsilon": 1e-3},
        21,
        "2,6,4,5",
        {
            "groups": np.array([0, 2, -1]),
            "shape": np.array([2, 6, 4, 5]),
            "three": np.array([3.0, 1.0]),
            "two": np.array([-1.0, 2.0]),
        },
    ),
    _l2_norm("n = ReduceL2(x, last) y = Div(x, n)"),
    _l2_norm("p = Mul(x, x) s = ReduceSum(p, last) n = Sqrt(s) y = Div(x, n)"),
    _l2_norm("s = ReduceSumSquare(x, last) n = Sqrt(s) y = Div(x, n)"),
    _l2_norm("n = ReduceL2(x, last) e = Expand(n, full) y = Div(x, e)"),
)
