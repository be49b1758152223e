"""Operators that work value by value, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from math import erf as _scalar_erf

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes, register

Array = np.ndarray


def _register_unary(op: str, function: Callable[[Array], Array]) -> None:
    def compute(x: Array) -> Array:
        return np.asarray(function(x))

    register(compute, op)


def _register_binary(op: str, function: Callable[[Array, Array], Array]) -> None:
    def compute(x: Array, y: Array) -> Array:
        return np.asarray(function(x, y))

    register(compute, op)


def erf(x: Array) -> Array:
    """The error function, to the last bit of a 32-bit float."""
    return np.asarray(np.frompyfunc(_scalar_erf, 1, 1)(x), np.float64).astype(np.result_type(x, np.float32))


def _identity(x: Array) -> Array:
    return x


def _real_div(x: Array, y: Array) -> Array:
    """Of integers, the quotient without its fraction: the result is declared as integers."""
    return np.asarray(np.trunc(np.true_divide(x, y))) if x.dtype.kind in "iu" else np.asarray(np.true_divide(x, y))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": _identity,
    "logical_not": np.logical_not,
    "round": np.rint,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "real_div": _real_div,
    "sub": np.subtract,
}
for _op, _unary in _UNARY.items():
    _register_unary(_op, _unary)
for _op, _binary in _BINARY.items():
    _register_binary(_op, _binary)


@computes("inverse")
def inverse(x: Array, epsilon: Array) -> Array:
    """1 / (x + epsilon)."""
    return np.asarray(1 / (x + epsilon), x.dtype)


@computes("rsqrt")
def rsqrt(x: Array, epsilon: Array) -> Array:
    """1 / sqrt(x + epsilon)."""
    return np.asarray(1 / np.sqrt(x + epsilon), x.dtype)


@computes("log")
def log(x: Array, epsilon: Array) -> Array:
    """log(x + epsilon)."""
    return np.asarray(np.log(x + epsilon))


@computes("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """Values held between alpha and beta."""
    return np.asarray(np.clip(x, alpha, beta))


@computes("threshold")
def threshold(x: Array, alpha: Array) -> Array:
    """The larger of x and alpha."""
    return np.asarray(np.maximum(x, alpha))


@computes("cast")
def cast(x: Array, dtype: str) -> Array:
    """Values in another type: fractions are cut off, anything but zero is true."""
    return x.astype(_TYPES[str(dtype)])


_TYPES = {
    "fp16": np.float16,
    "fp32": np.float32,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "bool": np.bool_,
}


@computes("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    """`a` where the condition holds, else `b`."""
    return np.where(cond, a, b)
