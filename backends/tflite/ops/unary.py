"""Functions of one number: those that have an operator of their own, and formulas for the others."""

from __future__ import annotations

import math
from collections.abc import Callable

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import lowers

_CODES = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Round": "ROUND",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
}
# erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.92, and 1 in float32 beyond. Minimax fit by iteratively reweighted least
# squares: a relative error of 2e-8, in float32 arithmetic 4e-7. Lowest powers first.
_ERF_LIMIT = 3.92
_ERF_P = (
    1.1283791463196278,
    0.19039383202902863,
    0.05274685748985428,
    0.00376502682256982,
    0.00028486158995641285,
    2.050078948083991e-06,
)
_ERF_Q = (
    1.0,
    0.5020648842571466,
    0.11410371493371212,
    0.014968034043318123,
    0.0011623781253129923,
    3.809052816327945e-05,
)


@lowers(*_CODES, layout=FOLLOWS)
def unary(op: Op) -> None:
    """One operator, and casts around it for types that it lacks."""
    formula = Formula(op)
    formula.write(_CODES[op.node.op], formula.read())


@lowers("Reciprocal", layout=FOLLOWS)
def reciprocal(op: Op) -> None:
    """1 / x."""
    formula = Formula(op)
    formula.write("DIV", 1.0, formula.read())


@lowers("Erf", layout=FOLLOWS)
def erf(op: Op) -> None:
    """A quotient of two polynomials; its relative error is below 4e-7."""
    formula = Formula(op)
    x = formula("MINIMUM", formula("MAXIMUM", formula.read(), -_ERF_LIMIT), _ERF_LIMIT)
    square = formula("MUL", x, x)
    top = formula("MUL", x, _polynomial(formula, square, _ERF_P))
    formula.write("DIV", top, _polynomial(formula, square, _ERF_Q))


def _polynomial(formula: Formula, x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """A polynomial, by Horner's scheme."""
    *rest, highest = coefficients
    total = formula("MUL", x, highest)
    for place, coefficient in enumerate(reversed(rest)):
        total = formula("ADD", formula("MUL", total, x) if place else total, coefficient)
    return total


def _tan(formula: Formula, x: Tensor) -> None:
    formula.write("DIV", formula("SIN", x), formula("COS", x))


def _sinh(formula: Formula, x: Tensor) -> None:
    """-sign(x) e (2 + e) / (2 (1 + e)) with e = exp(-|x|) - 1, which ELU gives without cancellation."""
    small = formula("ELU", formula("NEG", formula("ABS", x)))
    top = formula("MUL", formula("MUL", small, formula("ADD", small, 2.0)), formula("SIGN", x))
    formula.write("DIV", top, formula("MUL", formula("ADD", small, 1.0), -2.0))


def _cosh(formula: Formula, x: Tensor) -> None:
    up, down = formula("EXP", x), formula("EXP", formula("NEG", x))
    formula.write("MUL", formula("ADD", up, down), 0.5)


def _asin(formula: Formula, x: Tensor) -> None:
    formula.write("ATAN2", x, _other_side(formula, x))


def _acos(formula: Formula, x: Tensor) -> None:
    formula.write("ATAN2", _other_side(formula, x), x)


def _other_side(formula: Formula, x: Tensor) -> Tensor:
    """sqrt(1 - x^2)."""
    return formula("SQRT", formula("MUL", formula("SUB", 1.0, x), formula("ADD", x, 1.0)))


def _atan(formula: Formula, x: Tensor) -> None:
    """ATAN2 broadcasts nothing."""
    formula.write("ATAN2", x, formula("ADD", formula("MUL", x, 0.0), 1.0))


def _asinh(formula: Formula, x: Tensor) -> None:
    """sign(x) log(|x| + sqrt(x^2 + 1))."""
    size = formula("ABS", x)
    root = formula("SQRT", formula("ADD", formula("MUL", x, x), 1.0))
    formula.write("MUL", formula("LOG", formula("ADD", size, root)), formula("SIGN", x))


def _acosh(formula: Formula, x: Tensor) -> None:
    root = formula("SQRT", formula("MUL", formula("SUB", x, 1.0), formula("ADD", x, 1.0)))
    formula.write("LOG", formula("ADD", x, root))


def _atanh(formula: Formula, x: Tensor) -> None:
    quotient = formula("DIV", formula("ADD", x, 1.0), formula("SUB", 1.0, x))
    formula.write("MUL", formula("LOG", quotient), 0.5)


_FORMULAS: dict[str, Callable[[Formula, Tensor], None]] = {
    "Tan": _tan,
    "Sinh": _sinh,
    "Cosh": _cosh,
    "Asin": _asin,
    "Acos": _acos,
    "Atan": _atan,
    "Asinh": _asinh,
    "Acosh": _acosh,
    "Atanh": _atanh,
}


@lowers(*_FORMULAS, layout=FOLLOWS)
def composed(op: Op) -> None:
    """Several operators."""
    formula = Formula(op)
    _FORMULAS[op.node.op](formula, formula.read())


@lowers("IsNaN", layout=FOLLOWS)
def is_nan(op: Op) -> None:
    """What does not equal itself."""
    formula = Formula(op)
    x = formula.read()
    formula.write("NOT_EQUAL", x, x)


@lowers("IsInf", layout=FOLLOWS)
def is_inf(op: Op) -> None:
    """What equals infinity, of the signs that are asked for."""
    formula = Formula(op)
    x = formula.read()
    up, down = bool(op.attr("detect_positive", 1)), bool(op.attr("detect_negative", 1))
    if up and down:
        formula.write("EQUAL", formula("ABS", x), math.inf)
    elif up or down:
        formula.write("EQUAL", x, math.inf if up else -math.inf)
    else:
        formula.write("NOT_EQUAL", formula("ZEROS_LIKE", x), 0.0)
