"""Functions of one number and of two."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers

_UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Asin": "asin",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul"}
_CHAINS = {"Max": "maximum", "Min": "minimum", "Sum": "add"}
# A logarithm or a quotient of Core ML adds this to its argument if it is not told otherwise.
NO_EPSILON = np.float32(0)


@lowers(*_UNARY)
def unary(op: Op) -> None:
    """One operator."""
    op.write(op(_UNARY[op.op], x=op.read()))


@lowers("Neg")
def negate(op: Op) -> None:
    """A product with -1."""
    op.write(op("mul", x=op.read(), y=-1))


@lowers("Log")
def log(op: Op) -> None:
    """log, with nothing added."""
    op.write(op("log", x=op.read(), epsilon=NO_EPSILON))


@lowers("Reciprocal")
def reciprocal(op: Op) -> None:
    """1 / x."""
    op.write(op("real_div", x=1.0, y=op.read()))


@lowers(*_BINARY)
def binary(op: Op) -> None:
    """add, sub, mul."""
    op.write(op(_BINARY[op.op], x=op.read(0), y=op.read(1)))


@lowers("Pow")
def power(op: Op) -> None:
    """pow, in floats if one of both is."""
    x, y = op.read(0), op.read(1)
    if op.is_float(x) != op.is_float(y):
        x, y = op.cast(x, np.float32), op.cast(y, np.float32)
    op.write(op("pow", x=x, y=y))


@lowers("Div")
def divide(op: Op) -> None:
    """real_div; of integers the quotient of the sizes, rounded down, with the sign: towards zero, as ONNX has it."""
    x, y = op.read(0), op.read(1)
    if op.is_float(x):
        op.write(op("real_div", x=x, y=y))
        return
    sign = op("mul", x=op("sign", x=x), y=op("sign", x=y))
    op.write(op("mul", x=op("floor_div", x=op("abs", x=x), y=op("abs", x=y)), y=sign))


@lowers(*_CHAINS)
def chain(op: Op) -> None:
    """maximum, minimum, add, of any number of operands."""
    operands = [op.read(index) for index in range(len(op.node.inputs))]
    op.write(functools.reduce(lambda x, y: op(_CHAINS[op.op], x=x, y=y), operands))


@lowers("Mean")
def mean(op: Op) -> None:
    """A sum, divided by the number of operands."""
    operands = [op.read(index) for index in range(len(op.node.inputs))]
    total = functools.reduce(lambda x, y: op("add", x=x, y=y), operands)
    op.write(op("mul", x=total, y=1.0 / len(operands)))


@lowers("Mod")
def modulo(op: Op) -> None:
    """mod, which has the sign of the divisor; with `fmod` the sign of the dividend."""
    x, y = op.read(0), op.read(1)
    if not op.attr("fmod", 0):
        op.write(op("mod", x=x, y=y))
        return
    size = op("mod", x=op("abs", x=x), y=op("abs", x=y))
    op.write(op("mul", x=size, y=op("sign", x=x)))


def _asinh(op: Op) -> Any:
    """sign(x) log(|x| + sqrt(x^2 + 1))."""
    size = op("abs", x=op.read())
    root = op("sqrt", x=op("add", x=op("square", x=size), y=1.0))
    return op("mul", x=op("log", x=op("add", x=size, y=root), epsilon=NO_EPSILON), y=op("sign", x=op.read()))


def _acosh(op: Op) -> Any:
    x = op.read()
    root = op("sqrt", x=op("mul", x=op("sub", x=x, y=1.0), y=op("add", x=x, y=1.0)))
    return op("log", x=op("add", x=x, y=root), epsilon=NO_EPSILON)


_FORMULAS = {"Asinh": _asinh, "Acosh": _acosh}


@lowers(*_FORMULAS)
def formula(op: Op) -> None:
    """Several operators."""
    op.write(_FORMULAS[op.op](op))
