"""What is known before the model runs, where it is an output of the model; elsewhere it has been folded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import Unsupported, lowers


def _shape(op: Op) -> np.ndarray:
    return np.array(op.shape(), np.int64)[slice(op.attr("start", 0), op.attr("end"))]


def _size(op: Op) -> np.ndarray:
    return np.array(np.prod(op.shape()), np.int64)


def _constant(op: Op) -> np.ndarray:
    (value,) = op.node.attrs.values()
    values = value.values if hasattr(value, "values") else value
    if isinstance(values, str | bytes) or np.asarray(values).dtype.kind not in "fiub":
        raise Unsupported("LiteRT does not compute with texts")
    return np.asarray(values)


def _constant_of_shape(op: Op) -> np.ndarray:
    value = op.attr("value")
    return np.full(op.result_shape(), 0.0 if value is None else np.asarray(value.values).reshape(()))


def _eye_like(op: Op) -> np.ndarray:
    rows, columns = op.shape()
    return np.eye(rows, columns, k=int(op.attr("k", 0)))


def _range(op: Op) -> np.ndarray:
    start, _, step = (op.required(index, name).reshape(()) for index, name in enumerate(("start", "end", "step")))
    return np.asarray(start + step * np.arange(op.result_shape()[0]))


_VALUES: dict[str, Callable[[Op], np.ndarray]] = {
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye_like,
    "Range": _range,
}


@lowers(*_VALUES)
def known(op: Op) -> None:
    """RESHAPE of a constant."""
    values, output = _VALUES[op.node.op](op), op.write()
    op.tensors.reshape_into(op.const(values.reshape(output.shape), output.dtype), output)
