"""Normalizations."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.activations import per_channel
from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import ints

Array = np.ndarray


@computes("batch_norm")
def batch_norm(
    x: Array, mean: Array, variance: Array, epsilon: Array, gamma: Array | None = None, beta: Array | None = None
) -> Array:
    """By the given mean and variance of each channel (axis 1)."""
    normal = (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + epsilon)
    return _scaled_channels(normal, gamma, beta)


@computes("instance_norm")
def instance_norm(x: Array, epsilon: Array, gamma: Array | None = None, beta: Array | None = None) -> Array:
    """By the mean and variance over the spatial axes."""
    return _scaled_channels(_normal(x, tuple(range(2, x.ndim)), epsilon), gamma, beta)


@computes("layer_norm")
def layer_norm(
    x: Array, epsilon: Array, axes: Array | None = None, gamma: Array | None = None, beta: Array | None = None
) -> Array:
    """By the mean and variance over the axes, all of them if none are given; gamma and beta have these axes."""
    chosen = tuple(range(x.ndim)) if axes is None else tuple(sorted(axis % x.ndim for axis in ints(axes)))
    shape = [size if axis in chosen else 1 for axis, size in enumerate(x.shape)]
    result = _normal(x, chosen, epsilon)
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@computes("l2_norm")
def l2_norm(x: Array, epsilon: Array) -> Array:
    """Divided by the root of the sum of squares over the last three axes."""
    return np.asarray(x / np.sqrt(np.square(x).sum(axis=(-3, -2, -1), keepdims=True) + epsilon))


@computes("local_response_norm")
def local_response_norm(x: Array, size: Array, alpha: Array, beta: Array, k: Array) -> Array:
    """Divided by a power of the squares of `size` neighbouring channels, of which an even one lies behind."""
    count = int(size)
    before, behind = (count - 1) // 2, count // 2
    squares = np.pad(np.square(x), [(0, 0), (before, behind), *[(0, 0)] * (x.ndim - 2)])
    sums = sum(squares[:, start : start + x.shape[1]] for start in range(count))
    return np.asarray(x / (k + alpha / count * sums) ** beta)


def _normal(x: Array, axes: tuple[int, ...], epsilon: Array) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon))


def _scaled_channels(x: Array, gamma: Array | None, beta: Array | None) -> Array:
    result = x if gamma is None else x * per_channel(gamma, x)
    return result if beta is None else result + per_channel(beta, x)
