"""Activations."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.elementwise import erf
from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray


@computes("relu")
def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.asarray(np.maximum(x, 0))


@computes("relu6")
def relu6(x: Array) -> Array:
    """x held between 0 and 6."""
    return np.asarray(np.clip(x, 0, 6))


@computes("sigmoid")
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


@computes("silu")
def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return np.asarray(x * sigmoid(x))


@computes("sigmoid_hard")
def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha x + beta, held between 0 and 1."""
    return np.asarray(np.clip(alpha * x + beta, 0, 1))


@computes("leaky_relu")
def leaky_relu(x: Array, alpha: Array) -> Array:
    """x, or alpha x where it is negative."""
    return np.where(x >= 0, x, alpha * x)


@computes("clamped_relu")
def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    """A leaky relu with the upper bound beta."""
    return np.asarray(np.minimum(beta, leaky_relu(x, alpha)))


@computes("thresholded_relu")
def thresholded_relu(x: Array, alpha: Array) -> Array:
    """x where it is alpha or more, else 0."""
    return np.where(x >= alpha, x, np.zeros_like(x))


@computes("prelu")
def prelu(x: Array, alpha: Array) -> Array:
    """x, or alpha of its channel (axis 1) times x where it is negative."""
    return np.where(x > 0, x, per_channel(alpha, x) * x)


@computes("elu")
def elu(x: Array, alpha: Array) -> Array:
    """x, or alpha (exp(x) - 1) where it is negative."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@computes("gelu")
def gelu(x: Array, mode: str = "EXACT") -> Array:
    """x times the normal distribution's share below x, or one of two approximations of it."""
    if mode == "EXACT":
        return np.asarray(0.5 * x * (1 + erf(x / np.sqrt(np.float32(2)))))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(np.float32(2 / np.pi)) * (x + np.float32(0.044715) * x**3))))
    return np.asarray(x * sigmoid(np.float32(1.702) * x))


@computes("softplus")
def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return np.asarray(np.logaddexp(x, np.zeros_like(x)))


@computes("softplus_parametric")
def softplus_parametric(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha log(1 + exp(beta x)), with alpha and beta of each channel (axis 1)."""
    return np.asarray(per_channel(alpha, x) * softplus(per_channel(beta, x) * x))


@computes("softsign")
def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return np.asarray(x / (1 + np.abs(x)))


@computes("linear_activation")
def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha x + beta."""
    return np.asarray(alpha * x + beta)


@computes("scaled_tanh")
def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    """alpha tanh(beta x)."""
    return np.asarray(alpha * np.tanh(beta * x))


@computes("softmax")
def softmax(x: Array, axis: Array) -> Array:
    """exp(x), divided by its sum over the axis."""
    powers = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return np.asarray(powers / powers.sum(axis=int(axis), keepdims=True))


def per_channel(values: Array, like: Array) -> Array:
    """One value a channel, shaped to broadcast over a tensor whose axis 1 is the channels."""
    return values.reshape(-1, *[1] * (like.ndim - 2)) if values.ndim else values
