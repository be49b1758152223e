"""Comparisons, logic and choices."""

from __future__ import annotations

import functools

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.broadcasting import choose
from pruna_ir.backends.coreml.table import lowers

_COMPARISONS = {
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
}
_LOGIC = {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}


@lowers(*_COMPARISONS)
def compare(op: Op) -> None:
    """One operator."""
    op.write(op(_COMPARISONS[op.op], x=op.read(0), y=op.read(1)))


@lowers(*_LOGIC)
def logic(op: Op) -> None:
    """One operator."""
    op.write(op(_LOGIC[op.op], x=op.read(0), y=op.read(1)))


@lowers("Not")
def invert(op: Op) -> None:
    """logical_not."""
    op.write(op("logical_not", x=op.read()))


@lowers("Where")
def where(op: Op) -> None:
    """select."""
    op.write(choose(op, *(op.read(index) for index in range(3))))


@lowers("IsNaN")
def is_nan(op: Op) -> None:
    """What does not equal itself."""
    op.write(op("not_equal", x=op.read(), y=op.read()))


@lowers("IsInf")
def is_inf(op: Op) -> None:
    """What equals infinity, of the signs that are asked for."""
    x = op.read()
    signs = [sign for sign, name in ((1, "detect_positive"), (-1, "detect_negative")) if op.attr(name, 1)]
    found = [op("equal", x=x, y=np.float32(sign * np.inf)) for sign in signs]
    none = [] if found else [op("less", x=op("abs", x=x), y=0.0)]
    op.write(functools.reduce(lambda a, b: op("logical_or", x=a, y=b), [*found, *none]))
