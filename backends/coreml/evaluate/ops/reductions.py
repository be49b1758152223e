"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes, register
from pruna_ir.backends.coreml.evaluate.windows import ints

Array = np.ndarray
Reduce = Callable[..., Array]


def _log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    largest = x.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, np.zeros_like(largest))
    result = np.log(np.exp(x - largest).sum(axis=axis, keepdims=True)) + largest
    return result if keepdims else np.asarray(np.squeeze(result, axis))


_REDUCTIONS: dict[str, Reduce] = {
    "reduce_l1_norm": lambda x, **over: np.abs(x).sum(**over),
    "reduce_l2_norm": lambda x, **over: np.sqrt(np.square(x).sum(**over)),
    "reduce_log_sum": lambda x, **over: np.log(x.sum(**over)),
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, **over: np.square(x).sum(**over),
}


def _register(op: str, reduce: Reduce) -> None:
    def compute(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
        chosen = tuple(range(x.ndim)) if axes is None else ints(axes)
        return np.asarray(reduce(x, axis=chosen, keepdims=bool(keep_dims)))

    register(compute, op)


for _op, _reduce in _REDUCTIONS.items():
    _register(_op, _reduce)


@computes("reduce_argmax")
def reduce_argmax(x: Array, axis: Array, keep_dims: Array | bool = False, output_dtype: str = "int32") -> Array:
    """Where the largest value is along the axis; of equal ones the first."""
    return np.asarray(np.argmax(x, axis=int(axis), keepdims=bool(keep_dims)))


@computes("reduce_argmin")
def reduce_argmin(x: Array, axis: Array, keep_dims: Array | bool = False, output_dtype: str = "int32") -> Array:
    """Where the smallest value is along the axis; of equal ones the first."""
    return np.asarray(np.argmin(x, axis=int(axis), keepdims=bool(keep_dims)))
