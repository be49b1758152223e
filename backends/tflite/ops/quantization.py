"""Conversions between real numbers and integers, and from one scale to another."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_INTEGERS = ("int8", "uint8", "int16")


@lowers("QuantizeLinear", layout=DATA_FOLLOWS)
def quantize(op: Op) -> None:
    """QUANTIZE; nothing between integers of the same scale."""
    data, result = op.read(), op.write()
    _check(result)
    if data.dtype == result.dtype and _same_scale(data, result):
        op.tensors.place(op.kernel.outputs[0], op.mode, data)
        return
    op.emit("QUANTIZE", [data], result)


@lowers("DequantizeLinear", layout=DATA_FOLLOWS)
def dequantize(op: Op) -> None:
    """DEQUANTIZE."""
    data = op.read()
    _check(data)
    op.emit("DEQUANTIZE", [data], op.write())


def _same_scale(data: Tensor, result: Tensor) -> bool:
    first, second = data.quantization, result.quantization
    if first is None or second is None:
        return False
    return np.array_equal(first.scale, second.scale) and np.array_equal(first.zero_point, second.zero_point)


def _check(integers: Tensor) -> None:
    if integers.quantization is None:
        raise Unsupported("its scale or zero point is computed")
    if integers.dtype.name not in _INTEGERS:
        raise Unsupported(f"LiteRT quantizes activations to {', '.join(_INTEGERS)}, not {integers.dtype.name}")
