"""Normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported


@lowers("BatchNormalization")
def batch_normalization(op: Op) -> None:
    """batch_norm with constants; else a product and a sum."""
    if op.attr("training_mode", 0):
        raise Unsupported("it is in training mode")
    epsilon = np.float32(op.attr("epsilon", 1e-5))
    known = [op.constant(index) for index in (1, 2, 3, 4)]
    if all(values is not None for values in known) and 3 <= op.rank() <= 5:
        gamma, beta, mean, variance = (np.asarray(values, np.float32) for values in known)
        op.write(op("batch_norm", x=op.read(), mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon))
        return
    shape = np.array([-1 if axis == 1 else 1 for axis in range(op.rank())], np.int32)
    gamma, beta, mean, variance = (op("reshape", x=op.read(index), shape=shape) for index in (1, 2, 3, 4))
    scale = op("mul", x=op("rsqrt", x=variance, epsilon=epsilon), y=gamma)
    op.write(op("add", x=op("mul", x=op("sub", x=op.read(), y=mean), y=scale), y=beta))


@lowers("InstanceNormalization")
def instance_normalization(op: Op) -> None:
    """instance_norm of images and lists, and a product and a sum."""
    epsilon = float(op.attr("epsilon", 1e-5))
    gamma, beta = op.constant(1), op.constant(2)
    if gamma is not None and beta is not None and op.rank() in (3, 4):
        op.write(op("instance_norm", x=op.read(), gamma=gamma, beta=beta, epsilon=epsilon))
        return
    found = normalized(op, op.read(), list(range(2, op.rank())), epsilon)
    shape = np.array([-1] + [1] * (op.rank() - 2), np.int32)
    op.write(_affine(op, found, *(op("reshape", x=op.read(index), shape=shape) for index in (1, 2))))


@lowers("LayerNormalization")
def layer_normalization(op: Op) -> None:
    """layer_norm with constants; else the steps that it stands for."""
    axes = list(range(op.axis(-1), op.rank()))
    epsilon = float(op.attr("epsilon", 1e-5))
    gamma, beta = op.constant(1), op.constant(2)
    shape = tuple(op.read().shape[axes[0] :])
    plain = gamma is not None and (beta is not None or not op.has(2)) and not op.writes(1) and not op.writes(2)
    if plain and gamma is not None and all(isinstance(size, int | np.integer) for size in shape):
        gamma = np.broadcast_to(gamma, shape).copy()
        beta = None if beta is None else np.broadcast_to(beta, shape).copy()
        op.write(op("layer_norm", x=op.read(), axes=axes, gamma=gamma, beta=beta, epsilon=epsilon))
        return
    mean, moved, deviation = _moments(op, op.read(), axes, epsilon)
    found = op("mul", x=moved, y=deviation)
    op.write(_affine(op, found, op.read(1), op.optional(2)))
    for index, var in ((1, mean), (2, deviation)):
        if op.writes(index):
            op.write(var, index)


@lowers("GroupNormalization")
def group_normalization(op: Op) -> None:
    """What is normalized in groups, as a list a group."""
    shape, groups = op.shape(), int(op.attr("num_groups"))
    data = op("reshape", x=op.read(), shape=np.array([shape[0], groups, -1], np.int32))
    found = normalized(op, data, [2], float(op.attr("epsilon", 1e-5)))
    ones = [1] * (len(shape) - 2)
    if op.shape(1)[0] == shape[1]:  # a number for each channel, from opset 21 on
        found = op("reshape", x=found, shape=np.array(shape, np.int32))
        gamma, beta = (op("reshape", x=op.read(index), shape=np.array([-1, *ones], np.int32)) for index in (1, 2))
        op.write(_affine(op, found, gamma, beta))
    else:
        gamma, beta = (op("reshape", x=op.read(index), shape=np.array([-1, 1], np.int32)) for index in (1, 2))
        op.write(op("reshape", x=_affine(op, found, gamma, beta), shape=np.array(shape, np.int32)))


@lowers("RMSNormalization", "SimplifiedLayerNormalization")
def rms_normalization(op: Op) -> None:
    """x / sqrt(mean(x^2) + epsilon), times the scale."""
    if op.writes(1):
        raise Unsupported("Core ML does not tell the root of the mean")
    axes = list(range(op.axis(-1), op.rank()))
    mean = op("reduce_mean", x=op("square", x=op.read()), axes=axes, keep_dims=True)
    found = op("mul", x=op.read(), y=op("rsqrt", x=mean, epsilon=np.float32(op.attr("epsilon", 1e-5))))
    op.write(op("mul", x=found, y=op.read(1)))


@lowers("LpNormalization")
def lp_normalization(op: Op) -> None:
    """x divided by its norm; what is zero stays."""
    kind = "reduce_l1_norm" if op.attr("p", 2) == 1 else "reduce_l2_norm"
    norm = op(kind, x=op.read(), axes=[op.axis(-1)], keep_dims=True)
    norm = op("select", cond=op("equal", x=norm, y=0.0), a=1.0, b=norm)
    op.write(op("real_div", x=op.read(), y=norm))


@lowers("LRN")
def local_response_normalization(op: Op) -> None:
    """local_response_norm, which divides its alpha by the size as ONNX does."""
    options = {key: float(op.attr(name, default)) for key, name, default in _RESPONSE}
    op.write(op("local_response_norm", x=op.read(), size=int(op.attr("size")), **options))


_RESPONSE = (("alpha", "alpha", 0.0001), ("beta", "beta", 0.75), ("k", "bias", 1.0))


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(op: Op) -> None:
    """Moved to mean zero, and divided by the standard deviation."""
    axes = [int(axis) for axis in op.attr("axes", [0, 2, 3])]
    op.write(normalized(op, op.read(), axes, 1e-9))


def normalized(op: Op, x: Any, axes: list[int], epsilon: float) -> Any:
    """A variable with mean zero and deviation one over axes."""
    _, moved, deviation = _moments(op, x, axes, epsilon)
    return op("mul", x=moved, y=deviation)


def _moments(op: Op, x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any, Any]:
    """Mean, what is left without it, and one over the standard deviation."""
    mean = op("reduce_mean", x=x, axes=axes, keep_dims=True)
    moved = op("sub", x=x, y=mean)
    variance = op("reduce_mean", x=op("square", x=moved), axes=axes, keep_dims=True)
    return mean, moved, op("rsqrt", x=variance, epsilon=np.float32(epsilon))


def _affine(op: Op, x: Any, gamma: Any, beta: Any) -> Any:
    scaled = op("mul", x=x, y=gamma)
    return scaled if beta is None else op("add", x=scaled, y=beta)
