"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.analysis.qdq import params_of
from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.coreml.values import constant_value
from pruna_ir.backends.unsupported import Unsupported
from pruna_ir.calibration.scheme import QuantParams

# Integers that `quantize` and `dequantize` know.
_TYPES = ("int8", "uint8")


@lowers("QuantizeLinear")
def quantize(op: Op) -> None:
    """quantize, with scale and zero point as they are."""
    params = params_of(op.node)
    dtype = op.result_dtype().name
    if params is None or dtype not in _TYPES or op.ios < 17:
        raise Unsupported(f"Core ML does not quantize to {dtype} with a scale like this", _help(op))
    found = op("quantize", input=op.read(), output_dtype=dtype, **_parameters(params, op.rank()))
    op.write(found)


@lowers("DequantizeLinear")
def dequantize(op: Op) -> None:
    """dequantize; constants are stored in their integers."""
    known = constant_value(op.node.outputs[0])
    if known is not None:
        op.values.place(op.node.outputs[0], op.values.constant(known))
        return
    params = params_of(op.node)
    dtype = op.dtype().name
    if params is None or dtype not in _TYPES or op.ios < 17:
        raise Unsupported(f"Core ML does not dequantize {dtype} with a scale like this", _help(op))
    op.write(op("dequantize", input=op.cast(op.read(), dtype), **_parameters(params, op.rank())))


def _help(op: Op) -> str:
    return "activations in 8 bits need coreml<ios=17>" if op.ios < 17 else ""


def _parameters(params: QuantParams, rank: int) -> dict[str, Any]:
    scale = np.asarray(params.scale, np.float32)
    zero_point = np.asarray(params.zero_point)
    if params.axis is None:
        return {"scale": scale[()], "zero_point": zero_point[()]}
    return {"scale": scale, "zero_point": zero_point, "axis": np.int32(params.axis % rank)}
