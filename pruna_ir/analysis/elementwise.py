"""Elementwise operators as functions on arrays: a table from op to function, as ONNX defines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Attributes = Mapping[str, Any]
# Operands come as arrays or scalars, in the order of the node's inputs; None stands for one that is left out.
Elementwise = Callable[..., Array]


def function_of(op: str, attributes: Attributes) -> Elementwise | None:
    """What an op of ONNX's own domain with these attributes computes for each element; None if it has no row."""
    make = _TABLE.get(op)
    return None if make is None else make(attributes)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))  # does not overflow


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, x))


def _erf(x: Array) -> Array:
    """Abramowitz and Stegun, 7.1.26: within 1.5e-7."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1.0 - series * np.exp(-np.square(x))))


def _gelu(attributes: Attributes) -> Elementwise:
    if attributes.get("approximate") == "tanh":
        return lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2.0)))


def _elu(attributes: Attributes) -> Elementwise:
    alpha = attributes.get("alpha", 1.0)
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _selu(attributes: Attributes) -> Elementwise:
    alpha, gamma = attributes.get("alpha", 1.6732632), attributes.get("gamma", 1.0507009)
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _celu(attributes: Attributes) -> Elementwise:
    alpha = attributes.get("alpha", 1.0)
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


def _hard_sigmoid(attributes: Attributes) -> Elementwise:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: np.clip(alpha * x + beta, 0.0, 1.0)


def _swish(attributes: Attributes) -> Elementwise:
    alpha = attributes.get("alpha", 1.0)
    return lambda x: x * _sigmoid(alpha * x)


def _leaky_relu(attributes: Attributes) -> Elementwise:
    alpha = attributes.get("alpha", 0.01)
    return lambda x: np.where(x > 0, x, alpha * x)


def _thresholded_relu(attributes: Attributes) -> Elementwise:
    alpha = attributes.get("alpha", 1.0)
    return lambda x: np.where(x > alpha, x, 0.0)


def _clip(attributes: Attributes) -> Elementwise:
    ends = attributes.get("min", -np.inf), attributes.get("max", np.inf)  # until opset 10 they are attributes

    def clip(x: Array, low: Any = None, high: Any = None) -> Array:
        return np.asarray(np.clip(x, ends[0] if low is None else low, ends[1] if high is None else high))

    return clip


def _plain(function: Elementwise) -> Callable[[Attributes], Elementwise]:
    return lambda _: function


_TABLE: dict[str, Callable[[Attributes], Elementwise]] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "Celu": _celu,
    "Clip": _clip,
    "Div": _plain(np.divide),
    "Elu": _elu,
    "Erf": _plain(_erf),
    "Exp": _plain(np.exp),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0)),
    "LeakyRelu": _leaky_relu,
    "Max": _plain(lambda *values: np.maximum.reduce(np.broadcast_arrays(*values))),
    "Min": _plain(lambda *values: np.minimum.reduce(np.broadcast_arrays(*values))),
    "Mish": _plain(lambda x: x * np.tanh(_softplus(x))),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "PRelu": _plain(lambda x, slope: np.where(x > 0, x, slope * x)),
    "Pow": _plain(np.power),
    "Reciprocal": _plain(np.reciprocal),
    "Relu": _plain(lambda x: np.maximum(x, 0.0)),
    "Selu": _selu,
    "Sigmoid": _plain(_sigmoid),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(lambda x: x / (1 + np.abs(x))),
    "Sqrt": _plain(np.sqrt),
    "Sub": _plain(np.subtract),
    "Swish": _swish,
    "Tanh": _plain(np.tanh),
    "ThresholdedRelu": _thresholded_relu,
}
