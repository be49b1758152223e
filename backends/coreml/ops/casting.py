"""Cast, and numbers about shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.coreml.types import held
from pruna_ir.backends.unsupported import Unsupported


@lowers("Cast", "CastLike")
def cast(op: Op) -> None:
    """cast; integers that are too large for a short type lose their upper bits."""
    x, wanted = op.read(), op.result_dtype()
    if wanted.kind in "iu" and wanted.itemsize < 4 and op.dtype().kind != "b":
        narrower = not (op.dtype().kind in "iu" and np.can_cast(op.dtype(), wanted))
        x = wrapped(op, op.cast(x, np.int32), wanted) if narrower else x
    if wanted.kind == "b" and op.is_float(x):
        op.write(op("not_equal", x=x, y=0.0))
        return
    op.write(op("identity", x=op.cast(x, held(wanted, op.ios))) if x is op.read() else x)


def wrapped(op: Op, x: Any, wanted: np.dtype) -> Any:
    """Integers modulo the number of values of a type, within its range."""
    info = np.iinfo(wanted)
    low, count = int(info.min), int(info.max) - int(info.min) + 1
    shifted = op("mod", x=op("sub", x=x, y=low), y=count) if low else op("mod", x=x, y=count)
    return op("add", x=shifted, y=low) if low else shifted


@lowers("Shape")
def shape(op: Op) -> None:
    """shape, or a part of it."""
    rank = op.rank()
    start, end, _ = slice(op.attr("start", 0), op.attr("end")).indices(rank)
    if start >= end:
        raise Unsupported("it is the shape of nothing")
    sizes = op("shape", x=op.read())
    if (start, end) != (0, rank):
        sizes = op("slice_by_index", x=sizes, begin=[start], end=[end])
    op.write(sizes)


@lowers("Size")
def size(op: Op) -> None:
    """The product of the shape."""
    op.write(op("reduce_prod", x=op("shape", x=op.read()), axes=[0], keep_dims=False))


@lowers("ConstantOfShape")
def constant_of_shape(op: Op) -> None:
    """fill."""
    value = op.attr("value")
    number = np.zeros(1, np.float32) if value is None else np.asarray(getattr(value, "values", value))
    op.write(op("fill", shape=op.read(), value=number.reshape(-1)[0].astype(held(number.dtype, op.ios))))


@lowers("Range")
def range_(op: Op) -> None:
    """range_1d."""
    start, end, step = (op.read(index) for index in range(3))
    op.write(op("range_1d", start=start, end=end, step=step))
