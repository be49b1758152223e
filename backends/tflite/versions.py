"""Versions of operators: the lowest that has what an operator uses, as TensorFlow Lite's own converter writes them.

Source: tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc. A runtime that lacks a version refuses the file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.backends.tflite.program import Operator, Tensor

# By the type of the first input, version 1 where it is not named.
_PLAIN = {"int8": 2, "int16": 3}
_INT8 = {"int8": 2}
_INTEGERS = {"int8": 2, "int16": 2}
_BY_TYPE: dict[str, dict[str, int]] = {
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D", "TANH", "LOGISTIC", "SOFTMAX", "MEAN", "MIRROR_PAD"), _PLAIN),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN", "RELU6", "RSQRT", "LESS", "GREATER_EQUAL"), _PLAIN),
    **dict.fromkeys(("SPACE_TO_DEPTH", "SPLIT_V", "SUM", "LOG_SOFTMAX", "GREATER", "LESS_EQUAL"), _INT8),
    **dict.fromkeys(("SQUARED_DIFFERENCE", "DEPTH_TO_SPACE"), _INT8),
    **dict.fromkeys(("EXP", "LOG", "REDUCE_PROD", "SQRT"), _INTEGERS),
    "RELU": {"int8": 2, "uint8": 2, "int16": 3},
    "GELU": {"int8": 2, "uint8": 2},
    "ABS": {"int8": 2, "uint8": 2, "int16": 3, "int32": 5},
    "ARG_MAX": {"int8": 2, "bool": 3},
    "ARG_MIN": {"int8": 2, "bool": 3},
    "BATCH_MATMUL": _PLAIN,
    "BROADCAST_TO": {"int8": 3, "int16": 3},
    "CONCATENATION": {"int8": 2, "int16": 3, "uint32": 4},
    "EQUAL": {"int8": 2, "int16": 5},
    "NOT_EQUAL": {"int8": 2, "int16": 4},
    "FLOOR_DIV": {"float32": 2, "int8": 3, "int16": 3},
    "FLOOR_MOD": _INTEGERS,
    "GATHER": {"int8": 2, "bool": 3, "int16": 4},
    "GATHER_ND": {"int16": 3, "bool": 5},
    "L2_NORMALIZATION": _INT8,
    "LEAKY_RELU": {"int16": 2},
    "PACK": {"int8": 2, "int16": 3, "uint32": 4},
    "REVERSE_V2": {"bool": 2, "int8": 3},
    "SELECT_V2": {"uint32": 2},
    "SIGN": {"int32": 2},
    "TILE": {"int8": 3},
    "TOPK_V2": {"int8": 2, "int16": 3},
    "UNPACK": {"int8": 2, "uint8": 2, "bool": 3, "int16": 4},
}


def version_of(operator: Operator) -> int:
    """The version of an operator."""
    special = _SPECIAL.get(operator.code)
    return _typed(operator) if special is None else special(operator)


def _typed(operator: Operator) -> int:
    lowest = 2 if operator.code == "BROADCAST_TO" else 1
    return _BY_TYPE.get(operator.code, {}).get(_type(operator, 0), lowest)


def _input(operator: Operator, index: int) -> Tensor | None:
    return operator.inputs[index] if index < len(operator.inputs) else None


def _type(operator: Operator, index: int) -> str:
    tensor = _input(operator, index)
    return "" if tensor is None else tensor.dtype.name


def _types(operator: Operator) -> tuple[str, str]:
    """The types of data and weight."""
    return _type(operator, 0), _type(operator, 1)


def _per_channel(operator: Operator, index: int) -> bool:
    tensor = _input(operator, index)
    return tensor is not None and tensor.quantization is not None and tensor.quantization.per_channel


def _rank(operator: Operator) -> int:
    return max((len(tensor.shape) for tensor in operator.inputs if tensor is not None), default=0)


def _broadcasts(operator: Operator) -> bool:
    first, second = _input(operator, 0), _input(operator, 1)
    return first is not None and second is not None and first.shape != second.shape


def _scale(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None or tensor.quantization is None else float(tensor.quantization.scale[0])


def _conv(operator: Operator) -> int:
    data, weight = operator.inputs[:2]
    assert data is not None and weight is not None
    if data.shape[-1] != weight.shape[-1]:  # in groups
        return 6
    hybrid = 5 if _per_channel(operator, 1) else 2
    return {("int8", "int8"): 3, ("float32", "int8"): hybrid}.get(_types(operator), 1)


def _depthwise(operator: Operator) -> int:
    dilated = max(operator.options.get(f"dilation{side}Factor", 1) for side in "WH") > 1
    hybrid = 6 if _per_channel(operator, 1) else 4
    return {("int8", "int8"): 3, ("float32", "int8"): hybrid}.get(_types(operator), 2 if dilated else 1)


def _fully_connected(operator: Operator) -> int:
    if _types(operator) == ("float32", "int8") and _per_channel(operator, 1):
        return 12
    if _input(operator, 2) is None:
        return 6
    if operator.options.get("keepNumDims"):
        return 5
    return {("int8", "int8"): 4, ("float32", "int8"): 3}.get(_types(operator), 1)


def _transpose_conv(operator: Operator) -> int:
    if operator.options.get("fusedActivationFunction", "NONE") != "NONE":
        return 4
    if _input(operator, 3) is not None:
        return 3
    return 2 if _type(operator, 1) == "int8" else 1


def _mul(operator: Operator) -> int:
    if _type(operator, 0) != "int8":
        return {"int16": 4, "int64": 5, "uint32": 7}.get(_type(operator, 0), 1)
    scales = [_scale(tensor) for tensor in [*operator.inputs[:2], operator.outputs[0]]]
    return 3 if all(scales) and np.float32(scales[0] * scales[1] / scales[2]) >= 1 else 2


def _add(operator: Operator) -> int:
    return {"int8": 2, "int16": 3, "int64": 4}.get(_type(operator, 0), 1)


def _sub(operator: Operator) -> int:
    wide = 3 if _broadcasts(operator) and _rank(operator) > 4 else 1
    return {"int8": max(2, wide), "int16": 5, "int64": 4}.get(_type(operator, 0), wide)


def _largest(operator: Operator) -> int:
    wide = 3 if _broadcasts(operator) and _rank(operator) > 4 else 1
    return {"int8": max(2, wide), "int16": 4}.get(_type(operator, 0), wide)


def _div(operator: Operator) -> int:
    return 2 if _broadcasts(operator) and _rank(operator) > 4 else 1


def _transpose(operator: Operator) -> int:
    rank = _rank(operator)
    by_rank = 8 if rank > 6 else 6 if rank > 5 else 4 if rank > 4 else 1
    return max(by_rank, {"int8": 2, "bool": 3, "int16": 5}.get(_type(operator, 0), 1))


def _pad(operator: Operator) -> int:
    tensor = _input(operator, 0)
    wide = 4 if tensor is not None and len(tensor.shape) > 4 else 1
    return max(wide, {"int8": 2, "int16": 3, "bool": 5}.get(_type(operator, 0), 1))


def _slice(operator: Operator) -> int:
    tensor = _input(operator, 0)
    wide = 5 if tensor is not None and len(tensor.shape) > 4 else 1
    return max(wide, {"int8": 2, "int16": 4, "uint32": 6}.get(_type(operator, 0), 1))


def _strided_slice(operator: Operator) -> int:
    tensor = _input(operator, 0)
    wide = 4 if tensor is not None and len(tensor.shape) > 4 else 1
    return max(wide, {"int8": 2, "bool": 3, "uint32": 7}.get(_type(operator, 0), 1))


def _split(operator: Operator) -> int:
    return {"int8": 2, "int32": 3, "int16": 4}.get(_type(operator, 1), 1)


def _resize(operator: Operator) -> int:
    if _type(operator, 0) == "int16":
        return 4
    nearest = operator.code == "RESIZE_NEAREST_NEIGHBOR"
    if operator.options.get("halfPixelCenters") or (nearest and operator.options.get("alignCorners")):
        return 3
    return 2 if _type(operator, 0) == "int8" else 1


def _dequantize(operator: Operator) -> int:
    per_channel = 5 if _per_channel(operator, 0) else 2
    return {"int16": 3, "float16": 3, "int8": per_channel}.get(_type(operator, 0), 1)


def _quantize(operator: Operator) -> int:
    quantization = operator.outputs[0].quantization
    if quantization is not None and quantization.per_channel:
        return 3
    return 2 if operator.outputs[0].dtype == np.int16 else 1


def _cast(operator: Operator) -> int:
    found = {_type(operator, 0), operator.outputs[0].dtype.name}
    versions = {"float64": 5, "float16": 5, "uint16": 4, "int8": 3, "uint32": 2}
    return max(versions.get(name, 1) for name in found)


def _fill(operator: Operator) -> int:
    return {"float16": 4, "int8": 3, "int16": 3, "bool": 2}.get(_type(operator, 1), 1)


def _range(operator: Operator) -> int:
    return 2 if _type(operator, 0) == "int64" else 1


def _where(operator: Operator) -> int:
    return 1 if _type(operator, 0) == "bool" else 2


_SPECIAL: dict[str, Callable[[Operator], int]] = {
    "ADD": _add,
    "CAST": _cast,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "DIV": _div,
    "FILL": _fill,
    "FULLY_CONNECTED": _fully_connected,
    "MAXIMUM": _largest,
    "MINIMUM": _largest,
    "MUL": _mul,
    "PAD": _pad,
    "PADV2": _pad,
    "QUANTIZE": _quantize,
    "RANGE": _range,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _sub,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "WHERE": _where,
}
