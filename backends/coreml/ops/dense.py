"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported


@lowers("Gemm")
def gemm(op: Op) -> None:
    """linear where weight and bias are constants; else matmul and add."""
    alpha, beta = float(op.attr("alpha", 1.0)), float(op.attr("beta", 1.0))
    data, transposed = op.read(0), bool(op.attr("transA", 0))
    known, bias = op.known(1), _bias_vector(op)
    float_data = op.is_float(data)
    if known is not None and float_data and alpha == 1.0 and (bias is not None or not op.has(2)):
        order = [0, 1] if op.attr("transB", 0) else [1, 0]
        weight = op.weight(1, lambda constant: constant.transposed(order))
        data = op("transpose", x=data, perm=[1, 0]) if transposed else data
        added = None if bias is None else (beta * bias).astype(bias.dtype)
        op.write(op("linear", x=data, weight=weight, bias=added))
        return
    product = op("matmul", x=data, y=op.read(1), transpose_x=transposed, transpose_y=bool(op.attr("transB", 0)))
    product = product if alpha == 1.0 else op("mul", x=product, y=alpha if float_data else int(alpha))
    if op.has(2):
        added = op.read(2)
        added = added if beta == 1.0 else op("mul", x=added, y=beta if float_data else int(beta))
        product = op("add", x=product, y=added)
    op.write(product)


def _bias_vector(op: Op) -> np.ndarray | None:
    """The third input as one number for each column, if it is that."""
    bias = op.constant(2) if op.has(2) else None
    known = op.known(1)
    if bias is None or known is None:
        return None
    columns = known.array.shape[0 if op.attr("transB", 0) else 1]
    if bias.size not in (1, columns) or (bias.ndim == 2 and bias.shape[0] != 1):
        return None
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (columns,)))


@lowers("MatMul")
def matmul(op: Op) -> None:
    """matmul; linear where a list of rows meets a constant matrix."""
    data = op.read(0)
    known = op.known(1)
    if known is not None and known.array.ndim == 2 and op.rank() in (2, 3) and op.is_float(data):
        weight = op.weight(1, lambda constant: constant.transposed([1, 0]))
        op.write(op("linear", x=data, weight=weight))
        return
    op.write(product(op, data, op.read(1)))


def product(op: Op, x: Any, y: Any, **options: Any) -> Any:
    """matmul; what has one axis gets another one for it, which is taken away again."""
    row, column = len(x.shape) == 1, len(y.shape) == 1
    x = op("expand_dims", x=x, axes=[0]) if row else x
    y = op("expand_dims", x=y, axes=[1]) if column else y
    found = op("matmul", x=x, y=y, **options)
    gone = ([-2] if row else []) + ([-1] if column else [])
    return op("squeeze", x=found, axes=gone) if gone else found


@lowers("Det")
def determinant(op: Op) -> None:
    """Of matrices of one or two rows, written out."""
    shape = op.shape()
    if shape[-1] > 2:
        raise Unsupported(f"Core ML has no determinants, and those of {shape[-1]} rows are not written out")
    parts = [
        op("slice_by_index", x=op.read(), **_entry(shape, row, column))
        for row in range(shape[-1])
        for column in range(shape[-1])
    ]
    if len(parts) == 1:
        op.write(parts[0])
        return
    a, b, c, d = parts
    op.write(op("sub", x=op("mul", x=a, y=d), y=op("mul", x=b, y=c)))


def _entry(shape: tuple[int, ...], row: int, column: int) -> dict[str, list[int] | list[bool]]:
    """The slice that is one entry of every matrix."""
    ahead = len(shape) - 2
    return {
        "begin": [0] * ahead + [row, column],
        "end": [*shape[:-2], row + 1, column + 1],
        "squeeze_mask": [False] * ahead + [True, True],
    }
