"""Convolutions over three axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported
from pruna_ir.backends.windows import Windows, windows_of

# The axes of ONNX's weight (filters, channels, depth, rows, columns) in the order of the runtime's.
_FILTERS_LAST = (2, 3, 4, 1, 0)


def conv_3d(op: Op) -> None:
    """CONV_3D; each group of channels is one of its own."""
    filters, per_group, *kernel = op.shape(1)
    windows = windows_of(op, tuple(kernel))
    data, padding = _padded(op, op.read(0), windows)
    groups, output = int(op.attr("group", 1)), op.write()
    options: dict[str, Any] = {"padding": padding, "fusedActivationFunction": op.activation}
    for axis, letter in enumerate("DHW"):
        options[f"stride{letter}"] = windows.strides[axis]
        options[f"dilation{letter}Factor"] = windows.dilations[axis]
    weight = op.required(1, "weight").transpose(_FILTERS_LAST)
    bias = op.required(2, "bias") if op.has(2) else np.zeros(filters)
    if groups == 1:
        op.emit("CONV_3D", [data, op.const(weight, np.float32), op.const(bias, np.float32)], output, **options)
        return
    size, parts = filters // groups, []
    for group in range(groups):
        part = _channels(op, data, group * per_group, per_group)
        chosen = slice(group * size, (group + 1) * size)
        constants = [op.const(weight[..., chosen], np.float32), op.const(bias[chosen], np.float32)]
        parts.append(op.apply("CONV_3D", [part, *constants], (*output.shape[:-1], size), data, **options))
    op.emit("CONCATENATION", [*parts], output, axis=4, fusedActivationFunction="NONE")


def _padded(op: Op, data: Tensor, windows: Windows) -> tuple[Tensor, str]:
    """The data with the padding that the operator does not do by itself, and what it does by itself."""
    if windows.padding is not None:
        return data, windows.padding
    if min(*windows.before, *windows.after) < 0:
        raise Unsupported("its padding is negative")
    pads = [(0, 0), *zip(windows.before, windows.after, strict=True), (0, 0)]
    shape = [size + before + after for size, (before, after) in zip(data.shape, pads, strict=True)]
    return op.apply("PAD", [data, op.const(pads)], shape, data), "VALID"


def _channels(op: Op, data: Tensor, start: int, count: int) -> Tensor:
    begin, shape = [0, 0, 0, 0, start], [*data.shape[:-1], count]
    return op.apply("SLICE", [data, op.const(begin), op.const(shape)], shape, data)
