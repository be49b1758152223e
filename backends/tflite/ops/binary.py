"""Arithmetic of several tensors beside ADD, SUB, MUL and DIV."""

from __future__ import annotations

import functools

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_MANY = {"Max": "MAXIMUM", "Min": "MINIMUM", "Sum": "ADD", "Mean": "ADD"}


@lowers(*_MANY, layout=FOLLOWS)
def of_many(op: Op) -> None:
    """MAXIMUM, MINIMUM or ADD, as often as there are operands."""
    formula, code = Formula(op), _MANY[op.node.op]
    *first, last = [formula.read(index) for index in range(len(op.kernel.inputs))]
    if not first:
        formula.give(last)
        return
    so_far = functools.reduce(lambda total, term: formula(code, total, term), first)
    if op.node.op == "Mean":
        formula.write("MUL", formula(code, so_far, last), 1 / (len(first) + 1))
    else:
        formula.write(code, so_far, last)


@lowers("Pow", layout=FOLLOWS)
def power(op: Op) -> None:
    """POW, or for some exponents an operator that gives the same and is faster."""
    formula, exponent = Formula(op), op.constant(1)
    x = formula.read(0)
    known = float(exponent.reshape(())) if exponent is not None and exponent.size == 1 else None
    if known == 2.0:
        formula.write("MUL", x, x)
    elif known == 0.5 and x.dtype.kind == "f":
        formula.write("SQRT", x)
    elif known == -0.5 and x.dtype.kind == "f":
        formula.write("RSQRT", x)
    elif known == 3.0:
        formula.write("MUL", formula("MUL", x, x), x)
    else:
        formula.write("POW", *_alike(formula, x, formula.read(1)))


def _alike(formula: Formula, x: Tensor, exponent: Tensor) -> tuple[Tensor, Tensor]:
    """Base and exponent in one type: in floats if one of them is."""
    if x.dtype == exponent.dtype:
        return x, exponent
    common = np.float32 if "f" in (x.dtype.kind, exponent.dtype.kind) else np.int32
    return formula.cast(x, common), formula.cast(exponent, common)


@lowers("Mod", layout=FOLLOWS)
def modulo(op: Op) -> None:
    """FLOOR_MOD has the sign of the divisor; with `fmod` the result has that of the dividend."""
    formula = Formula(op)
    x, y = formula.read(0), formula.read(1)
    if not op.attr("fmod", 0):
        formula.write("FLOOR_MOD", x, y)
        return
    size = formula("FLOOR_MOD", formula("ABS", x), formula("ABS", y))
    if x.dtype.kind == "f":
        formula.write("MUL", size, formula("SIGN", x))
    else:
        formula.write("SELECT_V2", formula("LESS", x, 0), formula("NEG", size), size)


@lowers("BitwiseXor", layout=FOLLOWS)
def bitwise_xor(op: Op) -> None:
    """BITWISE_XOR."""
    _of_bits(op)
    op.emit("BITWISE_XOR", [op.read(0), op.read(1)], op.write())


@lowers("BitwiseNot", layout=FOLLOWS)
def bitwise_not(op: Op) -> None:
    """BITWISE_XOR with ones."""
    _of_bits(op)
    data = op.read()
    op.emit("BITWISE_XOR", [data, op.const(np.invert(np.zeros((), data.dtype)), data.dtype)], op.write())


def _of_bits(op: Op) -> None:
    if op.dtype().itemsize > 4:
        raise Unsupported(f"LiteRT does not know the bits of {op.dtype()}")


@lowers("BitwiseAnd", layout=FOLLOWS)
def bitwise_and(op: Op) -> None:
    """(x + y - (x ^ y)) / 2 in more bits than x and y have."""
    formula = Formula(op)
    formula.write("RIGHT_SHIFT", *_twice_the_common_bits(formula))


@lowers("BitwiseOr", layout=FOLLOWS)
def bitwise_or(op: Op) -> None:
    """(x & y) + (x ^ y)."""
    formula = Formula(op)
    common = formula("RIGHT_SHIFT", *_twice_the_common_bits(formula))
    formula.write("ADD", common, formula("BITWISE_XOR", formula.read(0), formula.read(1)))


def _twice_the_common_bits(formula: Formula) -> tuple[Tensor, float]:
    x, y = formula.read(0), formula.read(1)
    if formula.op.dtype().itemsize > 2:
        raise Unsupported("LiteRT has no operator for it in 32 bits")
    return formula("SUB", formula("ADD", x, y), formula("BITWISE_XOR", x, y)), 1


@lowers("BitShift", layout=FOLLOWS)
def bit_shift(op: Op) -> None:
    """RIGHT_SHIFT, or MUL by a power of two."""
    _of_bits(op)
    if op.dtype().kind != "u":  # amounts may be negative, which each runtime takes in its own way
        raise Unsupported("only unsigned integers are shifted")
    if op.attr("direction") == "RIGHT":
        op.emit("RIGHT_SHIFT", [op.read(0), op.read(1)], op.write())
        return
    formula, amount = Formula(op), op.constant(1)
    x = formula.read(0)
    if amount is None:
        bits = formula.cast(op.read(1), np.int32)
        factor = formula.cast(formula("POW", formula("ADD", formula("MUL", bits, 0), 2), bits), x.dtype)
    else:
        factor = formula.constant(np.left_shift(np.ones_like(amount, np.int64), amount.astype(np.int64)), x.dtype)
    formula.write("MUL", x, factor)
