"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.analysis.qdq import integer_limits, params_of
from pruna_ir.backends.coreml.constants import constant_value
from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported
from pruna_ir.calibration.scheme import QuantParams

# Integers that `quantize` and `dequantize` know.
_TYPES = ("int8", "uint8")
# The default of the attribute `axis`.
_AXIS = 1


@lowers("QuantizeLinear")
def quantize(op: Op) -> None:
    """quantize, with scale and zero point as they are; arithmetic for other types, and for scales that are computed."""
    dtype, params = op.result_dtype(), params_of(op.node)
    if _is_native(op, dtype, params):
        op.write(op("quantize", input=op.read(), output_dtype=dtype.name, **_parameters(params, op.rank())))
        return
    low, high = integer_limits(dtype)
    units = op("round", x=op("real_div", x=op.read(), y=_spread(op, 1)))
    if op.has(2):
        units = op("add", x=units, y=op.cast(_spread(op, 2), np.float32))
    op.write(op("clip", x=units, alpha=float(low), beta=float(high)))


@lowers("DequantizeLinear")
def dequantize(op: Op) -> None:
    """dequantize, or arithmetic; constants are stored in their integers."""
    known = constant_value(op.node.outputs[0])
    if known is not None:
        op.values.place(op.node.outputs[0], op.values.constant(known))
        return
    dtype, params = op.dtype(), params_of(op.node)
    if _is_native(op, dtype, params):
        op.write(op("dequantize", input=op.cast(op.read(), dtype), **_parameters(params, op.rank())))
        return
    units = op.cast(op.read(), np.int32)
    if op.has(2):
        units = op("sub", x=units, y=op.cast(_spread(op, 2), np.int32))
    op.write(op("mul", x=op.cast(units, np.float32), y=_spread(op, 1)))


def _is_native(op: Op, dtype: np.dtype, params: QuantParams | None) -> bool:
    """Whether Core ML has an operator for it; Unsupported where nothing is written instead."""
    if op.attr("block_size", 0):
        raise Unsupported("it has a scale for each block of what is computed")
    if dtype.name not in _TYPES or params is None or params.scale.dtype != np.float32:
        return False
    if op.ios < 17:
        raise Unsupported("it quantizes what is computed", "that needs coreml<ios=17>")
    return True


def _parameters(params: QuantParams | None, rank: int) -> dict[str, Any]:
    assert params is not None
    scale, zero_point = np.asarray(params.scale), np.asarray(params.zero_point)
    axis = {} if params.axis is None else {"axis": np.int32(params.axis % rank)}
    return {"scale": scale[()], "zero_point": zero_point[()], **axis}


def _spread(op: Op, index: int) -> Any:
    """A scale or zero point, a number or one for each index of the axis, to combine with the data."""
    var, rank = op.read(index), op.rank()
    if len(var.shape) == 0 or rank == 0:
        return var
    shape = [-1 if place == op.axis(_AXIS) and var.shape[0] != 1 else 1 for place in range(rank)]
    return op("reshape", x=var, shape=np.array(shape, np.int32))
