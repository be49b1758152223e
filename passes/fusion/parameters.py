"""Weights and other constants that rules fold into each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rules import Match, producer
from pruna_ir.remarks import Reason


def is_parameter(tensor: gs.Tensor) -> bool:
    """Whether a tensor is fixed, as a constant or as one stored in a quantized form."""
    return isinstance(tensor, gs.Constant) or producer(tensor, "DequantizeLinear") is not None


def not_foldable(tensors: Iterable[gs.Tensor]) -> Reason | None:
    """Why the values of the tensors cannot be computed with; omitted optional inputs are fine."""
    for tensor in tensors:
        if producer(tensor, "DequantizeLinear") is not None:
            return Reason("`{}` is quantized: fusing would lose its scale", tensor.name)
        if tensor.is_empty():
            continue
        if not isinstance(tensor, gs.Constant):
            return Reason("`{}` is not a constant", tensor.name)
        if isinstance(tensor.dtype, int) or np.dtype(tensor.dtype).kind != "f":
            return Reason("`{}` holds {}, not floats that NumPy knows", tensor.name, tensor.dtype)
    return None


def unshared(tensors: Iterable[gs.Constant]) -> Reason | None:
    """Why constants cannot be replaced without storing more than before: others read one of them."""
    for tensor in tensors:
        if len(tensor.outputs) > 1:
            return Reason("`{}` has {} users", tensor.name, len(tensor.outputs))
    return None


def as_float64(tensor: gs.Constant) -> np.ndarray:
    """The values of a constant, in the precision that rules calculate in."""
    return np.asarray(tensor.values, np.float64)


def rounded(values: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray | Reason:
    """The values in the dtype that they are stored in, or a reason if they do not fit in it."""
    with np.errstate(over="ignore"):
        stored = values.astype(dtype)
    if np.isfinite(stored).all():
        return stored
    return Reason("the fused {} would not be finite in {}", what, np.dtype(dtype).name)


def put_rounded(match: Match, results: Mapping[str, np.ndarray | None], dtype: np.dtype) -> Reason | None:
    """Put results in a match as they are stored (None stays None), or say which does not fit in the type."""
    for name, values in results.items():
        stored = None if values is None else rounded(values, dtype, name)
        if isinstance(stored, Reason):
            return stored
        match[name] = stored
    return None
