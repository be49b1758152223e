"""What TensorRT's parser takes of single QuantizeLinear and DequantizeLinear nodes, wherever they stand.

How they stand around layers is what the rules of lint-qdq look at.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import QUANTIZE
from pruna_ir.backends.tensorrt.run_time import RunTime
from pruna_ir.backends.tensorrt.types import type_name

# What a DequantizeLinear may read; a QuantizeLinear writes the first two of them.
STORED = frozenset({"int8", "float8_e4m3fn", "int4"})
_WRITTEN = frozenset({"int8", "float8_e4m3fn"})


def stored_type(node: gs.Node, _: RunTime) -> str | None:
    """Why the type that a node writes or reads in place of floats is refused."""
    name = type_name(node.outputs[0] if node.op == QUANTIZE else node.inputs[0])
    if node.op == QUANTIZE and name not in _WRITTEN:
        return f"it writes {name}, not int8"
    if node.op == QUANTIZE and node.attrs.get("block_size", 0):
        return "it has a scale for each block, which only weights may have"
    odd = name == "int4" and math.prod(node.inputs[0].shape) % 2
    return "integers of 4 bits come in pairs, and it reads an odd number" if odd else None


def scales(node: gs.Node, _: RunTime) -> str | None:
    """Why the scale or zero point of a node is refused."""
    for tensor, what in zip(node.inputs[1:], ("scale", "zero point"), strict=False):
        if not (tensor.is_empty() or isinstance(tensor, gs.Constant)):
            return f"its {what} is computed, and must be a constant"
    scale = np.asarray(node.inputs[1].values, np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        return f"its scale is {scale.min():g}, and must be a positive number"
    zeros = node.inputs[2].values if len(node.inputs) > 2 and not node.inputs[2].is_empty() else np.zeros(1)
    if np.asarray(zeros, np.float32).any():
        return f"its zero point is {np.asarray(zeros, np.float32).reshape(-1)[0]:g}, and must be 0"
    wanted = node.outputs[0] if node.op != QUANTIZE else node.inputs[0]
    if type_name(node.inputs[1]) != type_name(wanted):
        return f"its scale is {type_name(node.inputs[1])}, and what it stands for {type_name(wanted)}"
    return None
