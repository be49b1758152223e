"""Activation functions that clip, and those that have an operator of their own."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.activations import clip_interval
from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS, FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Quantization, Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_UNARY = {"Sigmoid": "LOGISTIC", "Tanh": "TANH"}
# RELU_0_TO_1 is not among them: XNNPACK runs the MAXIMUM and MINIMUM that it stands for, but not it.
_CLIPS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


@lowers(*_UNARY, layout=FOLLOWS)
def unary(op: Op) -> None:
    """LOGISTIC, TANH."""
    op.emit(_UNARY[op.node.op], [op.read()], op.write())


@lowers("LeakyRelu", layout=FOLLOWS)
def leaky_relu(op: Op) -> None:
    """LEAKY_RELU."""
    op.emit("LEAKY_RELU", [op.read()], op.write(), alpha=op.attr("alpha", 0.01))


@lowers("Relu", "Clip", layout=DATA_FOLLOWS)
def clip(op: Op) -> None:
    """One of the RELU operators, or MAXIMUM and MINIMUM. In integers a QUANTIZE, whose range may end where it clips."""
    interval, data, result = clip_interval(op.node), op.read(), op.write()
    if interval is None:
        _limit_by_tensors(op, data, result)
        return
    bounds: list[tuple[str, float | int]]
    if result.quantization is not None:
        bounds = _integer_bounds(interval, result.quantization, result.dtype)
        if not bounds:
            op.emit("QUANTIZE", [data], result)
            return
        data = op.apply("QUANTIZE", [data], result.shape, result)
    elif data.dtype == np.float32 and interval in _CLIPS:
        op.emit(_CLIPS[interval], [data], result)
        return
    else:
        bounds = [("MAXIMUM", interval[0]), ("MINIMUM", interval[1])]
        bounds = [(code, bound) for code, bound in bounds if np.isfinite(bound)]
    _limit(op, data, bounds, result)


def _limit(op: Op, data: Tensor, bounds: list[tuple[str, float | int]], result: Tensor) -> None:
    if not bounds:
        op.tensors.reshape_into(data, result)
    for position, (code, bound) in enumerate(bounds):
        last = position == len(bounds) - 1
        limited = result if last else op.temp(data.shape, data)
        limit = op.tensors.raw(np.asarray(bound, data.dtype), f"{op.name}/limit", data.quantization)
        op.emit(code, [data, limit], limited)
        data = limited


def _limit_by_tensors(op: Op, data: Tensor, result: Tensor) -> None:
    """Limit by bounds of which one is computed."""
    if op.integer:
        raise Unsupported("its bounds are computed, which no integer kernel takes")
    given = [(code, index) for code, index in (("MAXIMUM", 1), ("MINIMUM", 2)) if op.has(index)]
    for code, index in given:
        limited = result if index == given[-1][1] else op.temp(data.shape, data)
        op.emit(code, [data, op.read(index)], limited)
        data = limited


def _integer_bounds(
    interval: tuple[float, float], quantization: Quantization, dtype: np.dtype
) -> list[tuple[str, float | int]]:
    """The bounds in integers, of those that lie within what the integers stand for."""
    info, found = np.iinfo(dtype), list[tuple[str, float | int]]()
    for code, bound in zip(("MAXIMUM", "MINIMUM"), interval, strict=True):
        if np.isfinite(bound):
            units = np.rint(np.float32(bound) / quantization.scale[0]) + quantization.zero_point[0]
            if info.min < units < info.max:
                found.append((code, int(units)))
    return found
