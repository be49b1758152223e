"""Conversions between real numbers and integers, and from one scale to another."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_INTEGERS = ("int8", "uint8", "int16")
# What images hold that are not normalized, or by whole numbers.
_PIXELS = np.arange(-255, 256, dtype=np.float32)


@lowers("QuantizeLinear", layout=DATA_FOLLOWS)
def quantize(op: Op) -> None:
    """QUANTIZE; nothing between integers of the same scale, and what rounds as ONNX does in front of it for images."""
    data, result = op.read(), op.write()
    _check(result)
    if data.dtype == result.dtype and _same_scale(data, result):
        op.tensors.place(op.kernel.outputs[0], op.mode, data)
        return
    if op.comes_from_outside() and data.dtype == np.float32 and not _rounds_whole_numbers_alike(result):
        data = _rounded_by_division(Formula(op), data, result)
    op.emit("QUANTIZE", [data], result)


@lowers("DequantizeLinear", layout=DATA_FOLLOWS)
def dequantize(op: Op) -> None:
    """DEQUANTIZE."""
    data = op.read()
    _check(data)
    op.emit("DEQUANTIZE", [data], op.write())


def _rounds_whole_numbers_alike(result: Tensor) -> bool:
    """Whether QUANTIZE, which multiplies by 1 / scale, gives for the values of pixels what ONNX's division does.

    Of whole numbers whose range is a whole number too, some lie in the middle between two integers.
    """
    assert result.quantization is not None
    scale = np.float32(result.quantization.scale[0])
    pixels = _PIXELS[np.abs(_PIXELS) <= 256 * scale]
    return np.array_equal(np.rint(pixels / scale), np.rint(pixels * (np.float32(1) / scale)))


def _rounded_by_division(formula: Formula, data: Tensor, result: Tensor) -> Tensor:
    """scale round(x / scale): multiples of the scale, which are rounded alike."""
    assert result.quantization is not None
    scale = float(result.quantization.scale[0])
    return formula("MUL", formula("ROUND", formula("DIV", data, scale)), scale)


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
