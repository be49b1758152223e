"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported, qualified

_PLAIN = {"Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign"}
# The largest number of a type is no bound.
_UNBOUNDED = 3e38


@lowers(*_PLAIN)
def plain(op: Op) -> None:
    """One operator without parameters."""
    op.write(op(_PLAIN[op.op], x=op.read()))


@lowers("Relu")
def relu(op: Op) -> None:
    """relu; of integers a maximum."""
    x = op.read()
    op.write(op("relu", x=x) if op.is_float(x) else op("maximum", x=x, y=0))


@lowers("LeakyRelu")
def leaky_relu(op: Op) -> None:
    """leaky_relu."""
    op.write(op("leaky_relu", x=op.read(), alpha=float(op.attr("alpha", 0.01))))


@lowers("Elu")
def elu(op: Op) -> None:
    """elu."""
    op.write(op("elu", x=op.read(), alpha=float(op.attr("alpha", 1.0))))


@lowers("HardSigmoid")
def hard_sigmoid(op: Op) -> None:
    """sigmoid_hard."""
    alpha, beta = float(op.attr("alpha", 0.2)), float(op.attr("beta", 0.5))
    op.write(op("sigmoid_hard", x=op.read(), alpha=alpha, beta=beta))


@lowers("HardSwish")
def hard_swish(op: Op) -> None:
    """x times a hard sigmoid of it."""
    gate = op("sigmoid_hard", x=op.read(), alpha=1.0 / 6.0, beta=0.5)
    op.write(op("mul", x=op.read(), y=gate))


def _selu(op: Op) -> Any:
    alpha, gamma = (
        float(op.attr("alpha", 1.67326319217681884765625)),
        float(op.attr("gamma", 1.05070102214813232421875)),
    )
    return op("mul", x=op("elu", x=op.read(), alpha=alpha), y=gamma)


def _celu(op: Op) -> Any:
    """alpha elu(x / alpha), where elu's own factor is one."""
    alpha = float(op.attr("alpha", 1.0))
    return op("mul", x=op("elu", x=op("mul", x=op.read(), y=1.0 / alpha), alpha=1.0), y=alpha)


def _swish(op: Op) -> Any:
    """x sigmoid(alpha x)."""
    x, alpha = op.read(), float(op.attr("alpha", 1.0))
    if alpha == 1.0:
        return op("silu", x=x)
    return op("mul", x=x, y=op("sigmoid", x=op("mul", x=x, y=alpha)))


def _mish(op: Op) -> Any:
    """x tanh(softplus(x))."""
    return op("mul", x=op.read(), y=op("tanh", x=op("softplus", x=op.read())))


def _quick_gelu(op: Op) -> Any:
    x, alpha = op.read(), float(op.attr("alpha", 1.702))
    return op("mul", x=x, y=op("sigmoid", x=op("mul", x=x, y=alpha)))


def _thresholded_relu(op: Op) -> Any:
    x = op.read()
    return op("select", cond=op("greater", x=x, y=float(op.attr("alpha", 1.0))), a=x, b=0.0)


def _shrink(op: Op) -> Any:
    """x moved towards zero by the bias beyond lambd, and zero between."""
    x, limit, bias = op.read(), float(op.attr("lambd", 0.5)), float(op.attr("bias", 0.0))
    positive = op("select", cond=op("greater", x=x, y=limit), a=op("sub", x=x, y=bias), b=0.0)
    return op("select", cond=op("less", x=x, y=-limit), a=op("add", x=x, y=bias), b=positive)


def _hardmax(op: Op) -> Any:
    """One at the first place of the largest number."""
    x, axis = op.read(), op.axis(-1)
    place = op("reduce_argmax", x=x, axis=axis, keep_dims=True)
    places = np.arange(op.shape()[axis], dtype=np.int32).reshape([-1 if a == axis else 1 for a in range(op.rank())])
    return op("equal", x=place, y=places)


_FORMULAS = {
    "Selu": _selu,
    "Celu": _celu,
    "Swish": _swish,
    "Mish": _mish,
    "com.microsoft.QuickGelu": _quick_gelu,
    "ThresholdedRelu": _thresholded_relu,
    "Shrink": _shrink,
    "Hardmax": _hardmax,
}


@lowers(*_FORMULAS)
def formula(op: Op) -> None:
    """Several operators."""
    op.write(_FORMULAS[qualified(op.node)](op))


@lowers("Clip")
def clip(op: Op) -> None:
    """relu, relu6, clip; maximum and minimum for integers, one bound, or bounds that are computed."""
    x = op.read()
    low, high = (op.constant(index) if op.has(index) else None for index in (1, 2))
    bounds = [None if bound is None else float(bound.reshape(())) for bound in (low, high)]
    bounds = [None if bound is None or abs(bound) > _UNBOUNDED else bound for bound in bounds]
    computed = any(op.has(index) and op.constant(index) is None for index in (1, 2))
    if not computed and op.is_float(x) and bounds[0] == 0.0 and bounds[1] in (None, 6.0):
        op.write(op("relu" if bounds[1] is None else "relu6", x=x))
    elif not computed and op.is_float(x) and bounds[0] is not None and bounds[1] is not None and bounds[0] <= bounds[1]:
        op.write(op("clip", x=x, alpha=bounds[0], beta=bounds[1]))
    else:
        for index, kind in ((1, "maximum"), (2, "minimum")):
            if op.has(index) and not (op.constant(index) is not None and bounds[index - 1] is None):
                x = op(kind, x=x, y=op.read(index))
        op.write(x)


@lowers("PRelu")
def prelu(op: Op) -> None:
    """prelu of images with a slope a channel; else the positive part and the slope times the negative part."""
    x, slope = op.read(0), op.constant(1)
    channels = _per_channel(slope, op.rank())
    if channels is not None and op.rank() == 4 and op.is_float(x):
        channels = np.broadcast_to(channels, (op.shape()[1],))
        op.write(op("prelu", x=x, alpha=np.ascontiguousarray(channels)))
        return
    positive = op("maximum", x=x, y=0)
    negative = op("minimum", x=x, y=0)
    op.write(op("add", x=positive, y=op("mul", x=negative, y=op.read(1))))


def _per_channel(slope: np.ndarray | None, rank: int) -> np.ndarray | None:
    """The slopes as one for each channel, if they are."""
    if slope is None or (slope.size > 1 and (slope.ndim != rank - 1 or slope.shape[0] != slope.size)):
        return None
    return slope.reshape(-1)


@lowers("Gelu", "com.microsoft.Gelu")
def gelu(op: Op) -> None:
    """gelu, exact or by tanh."""
    modes = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}
    kind = op.attr("approximate", "none")
    if kind not in modes:
        raise Unsupported(f"the approximation {kind} is not known")
    op.write(op("gelu", x=op.read(), mode=modes[kind]))


@lowers("Softmax")
def softmax(op: Op) -> None:
    """softmax."""
    op.write(op("softmax", x=op.read(), axis=op.axis(-1)))


@lowers("LogSoftmax")
def log_softmax(op: Op) -> None:
    """x - m - log(sum(exp(x - m))), where m is the largest number."""
    x, axis = op.read(), [op.axis(-1)]
    moved = op("sub", x=x, y=op("reduce_max", x=x, axes=axis, keep_dims=True))
    total = op("reduce_sum", x=op("exp", x=moved), axes=axis, keep_dims=True)
    op.write(op("sub", x=moved, y=op("log", x=total, epsilon=np.float32(0))))
