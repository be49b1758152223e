"""Types of values: what ONNX has, and what an ML program holds instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.unsupported import Unsupported

# What no program holds, and what it holds instead. int4 is stored, but not computed in.
_HELD = {
    "int64": "int32",
    "uint32": "int32",
    "uint64": "int32",
    "float64": "float32",
    "bfloat16": "float32",
    "int4": "int8",
    "uint4": "uint8",
}
# Short integers are data, and not only weights, from iOS 17 on.
_SHORT = ("int8", "uint8", "int16", "uint16")
# What inputs and outputs of a package are, by the type inside.
_AT_BORDER = {"bool": "int32", **dict.fromkeys(_SHORT, "int32")}
_KNOWN = {"bool", "int32", "float16", "float32", *_SHORT}
_MIL_NAMES = {"float16": "fp16", "float32": "fp32"}


def held(dtype: Any, ios: int = 17) -> np.dtype:
    """The type in which values of an ONNX type are computed; Unsupported for text and 8-bit floats."""
    name = np.dtype(dtype).name
    name = _HELD.get(name, name)
    if name in _SHORT and ios < 17:
        name = "int32"
    if name not in _KNOWN:
        raise Unsupported(f"Core ML has no values of type {np.dtype(dtype).name}")
    found: np.dtype = np.dtype(name)
    return found


def at_border(dtype: Any) -> np.dtype:
    """The type of an input or output of a package whose values have an ONNX type."""
    name = held(dtype).name
    return np.dtype(_AT_BORDER.get(name, name))


def narrow(array: np.ndarray, name: str, ios: int = 17) -> np.ndarray:
    """Values of a constant in the type they are held in; Unsupported if 32 bits do not hold them."""
    wanted = held(array.dtype, ios)
    if array.dtype == wanted:
        return array
    if array.dtype.kind in "iu" and array.size:
        info = np.iinfo(wanted)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            raise Unsupported(f"the constant `{name}` holds integers that 32 bits do not")
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def mil_name(dtype: Any) -> str:
    """What MIL calls a type."""
    name = str(np.dtype(dtype).name)
    return _MIL_NAMES.get(name, name)
