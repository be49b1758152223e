"""Types of values: which a file can hold, and in which they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE
from pruna_ir.backends.unsupported import Failures, Unsupported

# Types that no kernel computes in, and what they become.
_NARROWED = {"int64": np.int32, "float64": np.float32, "float16": np.float32}
_HELD = frozenset({"float32", "int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "bool", *_NARROWED})


def narrowed(dtype: Any) -> np.dtype:
    """The type in which values of an ONNX type are stored."""
    found = np.dtype(dtype)
    wanted: np.dtype = np.dtype(_NARROWED.get(found.name, found))
    return wanted


def narrow(array: np.ndarray, name: str) -> np.ndarray:
    """Values of a constant in the type that they are stored in; Unsupported if 32 bits do not hold them."""
    wanted = narrowed(array.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind == "i" and array.size:
        info = np.iinfo(np.int32)
        if array.min() < info.min or array.max() > info.max:
            raise Unsupported(f"the constant `{name}` holds integers that 32 bits do not")
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def check_types(graph: gs.Graph) -> None:
    """Raise E004 with all nodes that read or write values of types that a file cannot hold."""
    failures = Failures("LiteRT")
    for node in graph.nodes:
        if node.op == DEQUANTIZE and isinstance(node.inputs[0], gs.Constant):
            continue  # real numbers, in whatever they are stored
        names = [_name(tensor) for tensor in [*node.inputs, *node.outputs] if not tensor.is_empty()]
        wrong = [name for name in names if name not in _HELD]
        if wrong:
            failures.add(node, Unsupported(f"LiteRT does not compute with {wrong[0]}"))
    if failures.notes:
        raise failures.error()


def _name(tensor: gs.Tensor) -> str:
    """The name of a tensor's type, of those that NumPy lacks too."""
    dtype = tensor.dtype
    if dtype is None:
        return "an unknown type"
    if isinstance(dtype, int):
        return str(onnx.TensorProto.DataType.Name(dtype)).lower()
    found = np.dtype(dtype)
    return "text" if found.kind in "OUS" else found.name
