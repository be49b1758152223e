"""Bits of integers, which Core ML has no operators for: sums, quotients and remainders by powers of two."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.casting import wrapped
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported

# What two bits become, by their sum: 0, 1 or 2.
_COMBINED = {"BitwiseAnd": (0, 0, 1), "BitwiseOr": (0, 1, 1), "BitwiseXor": (0, 1, 0)}
_MOST_BITS = 16


@lowers("BitwiseNot")
def bitwise_not(op: Op) -> None:
    """-1 - x; of unsigned integers the largest one without x."""
    top = int(np.iinfo(op.dtype()).max) if op.dtype().kind == "u" else -1
    if top > np.iinfo(np.int32).max:
        raise Unsupported(f"Core ML does not hold all of {op.dtype()}")
    op.write(op("sub", x=top, y=op.cast(op.read(), np.int32)))


@lowers(*_COMBINED)
def bitwise(op: Op) -> None:
    """One bit after the other."""
    bits = op.dtype().itemsize * 8
    if bits > _MOST_BITS:
        raise Unsupported(f"Core ML has no operators on bits, and those of {op.dtype()} are too many to write out")
    operands = [op("mod", x=op.cast(op.read(index), np.int32), y=2**bits) for index in (0, 1)]
    table = np.array(_COMBINED[op.op], np.int32)
    parts: list[Any] = []
    for place in range(bits):
        digits = [op("mod", x=op("floor_div", x=x, y=2**place), y=2) for x in operands]
        total = op("add", x=digits[0], y=digits[1])
        combined = op("gather", x=table, indices=total, axis=0)
        parts.append(op("mul", x=combined, y=2**place))
    op.write(wrapped(op, functools.reduce(lambda x, y: op("add", x=x, y=y), parts), op.result_dtype()))


@lowers("BitShift")
def shift(op: Op) -> None:
    """A product with, or a quotient by, a power of two; what leaves the type is lost."""
    bits, left = op.dtype().itemsize * 8, op.attr("direction") != "RIGHT"
    if bits > _MOST_BITS:
        raise Unsupported(f"Core ML shifts no bits, and does not hold all products of {op.dtype()} instead")
    powers = np.append(2 ** np.arange(bits), 0 if left else 2**bits).astype(np.int32)
    unsigned = op("mod", x=op.cast(op.read(1), np.int32), y=2**bits)  # a negative one is a large one
    amounts = op("minimum", x=unsigned, y=bits)
    factors, x = op("gather", x=powers, indices=amounts, axis=0), op.cast(op.read(0), np.int32)
    op.write(wrapped(op, op("mul", x=x, y=factors), op.dtype()) if left else op("floor_div", x=x, y=factors))
