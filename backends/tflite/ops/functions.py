"""Activation functions beside the plain ones of `activation.py`."""

from __future__ import annotations

import math
from collections.abc import Callable

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import lowers


@lowers("Gelu", "com.microsoft.Gelu", layout=FOLLOWS)
def gelu(op: Op) -> None:
    """GELU."""
    op.emit("GELU", [op.read()], op.write(), approximate=op.attr("approximate", "none") == "tanh")


@lowers("HardSwish", layout=FOLLOWS)
def hard_swish(op: Op) -> None:
    """HARD_SWISH."""
    op.emit("HARD_SWISH", [op.read()], op.write())


@lowers("PRelu", layout=FOLLOWS)
def prelu(op: Op) -> None:
    """PRELU; for integers, or slopes that are computed, max(x, 0) + slope min(x, 0)."""
    formula = Formula(op)
    if op.integer or (op.constant(1) is not None and op.dtype().kind == "f"):
        op.emit("PRELU", [op.read(0), op.read(1)], op.write())
        return
    x, slope = formula.read(0), formula.read(1)
    above, below = formula("MAXIMUM", x, 0.0), formula("MINIMUM", x, 0.0)
    formula.write("ADD", above, formula("MUL", below, slope))


@lowers("Elu", layout=FOLLOWS)
def elu(op: Op) -> None:
    """ELU has an alpha of 1: the others scale what it makes of negative numbers."""
    alpha, formula = float(op.attr("alpha", 1.0)), Formula(op)
    if alpha == 1.0:
        formula.write("ELU", op.read())
    else:
        formula.write("ADD", *_elu_parts(formula, formula.read(), alpha))


@lowers("Selu", layout=FOLLOWS)
def selu(op: Op) -> None:
    """gamma (max(x, 0) + alpha ELU(min(x, 0)))."""
    alpha = float(op.attr("alpha", 1.67326319217681884765625))
    gamma = float(op.attr("gamma", 1.05070102214813232421875))
    formula = Formula(op)
    above, below = _elu_parts(formula, formula.read(), alpha * gamma)
    formula.write("ADD", formula("MUL", above, gamma), below)


def _elu_parts(formula: Formula, x: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    below = formula("ELU", formula("MINIMUM", x, 0.0))
    return formula("RELU", x), formula("MUL", below, factor)


@lowers("Celu", layout=FOLLOWS)
def celu(op: Op) -> None:
    """alpha ELU(x / alpha)."""
    alpha, formula = float(op.attr("alpha", 1.0)), Formula(op)
    formula.write("MUL", formula("ELU", formula("DIV", formula.read(), alpha)), alpha)


@lowers("HardSigmoid", layout=FOLLOWS)
def hard_sigmoid(op: Op) -> None:
    """RELU6 of six times the line, by six: XNNPACK has no kernel that clips to 0..1."""
    slope, shift = 6.0 * float(op.attr("alpha", 0.2)), 6.0 * float(op.attr("beta", 0.5))
    formula = Formula(op)
    x = formula.read()
    line = x if math.isclose(slope, 1.0, rel_tol=1e-7) else formula("MUL", x, slope)
    clipped = formula("ADD", line, shift, fusedActivationFunction="RELU6")
    formula.write("MUL", clipped, 1 / 6)


@lowers("Swish", layout=FOLLOWS)
def swish(op: Op) -> None:
    """x sigmoid(alpha x)."""
    alpha, formula = float(op.attr("alpha", 1.0)), Formula(op)
    x = formula.read()
    formula.write("MUL", x, formula("LOGISTIC", x if alpha == 1.0 else formula("MUL", x, alpha)))


def _softplus(formula: Formula, x: Tensor) -> None:
    """log(1 + exp(x)), which does not overflow: max(x, 0) + log(1 + exp(-|x|))."""
    small = formula("EXP", formula("NEG", formula("ABS", x)))
    formula.write("ADD", formula("RELU", x), formula("LOG", formula("ADD", small, 1.0)))


def _mish(formula: Formula, x: Tensor) -> None:
    """x m / (m + 2) with m = n (n + 2), n = exp(x): the tangent of a logarithm without either. Beyond 20 it is x."""
    n = formula("EXP", formula("MINIMUM", x, 20.0))
    m = formula("MUL", n, formula("ADD", n, 2.0))
    formula.write("MUL", x, formula("DIV", m, formula("ADD", m, 2.0)))


def _softsign(formula: Formula, x: Tensor) -> None:
    formula.write("DIV", x, formula("ADD", formula("ABS", x), 1.0))


_FORMULAS: dict[str, Callable[[Formula, Tensor], None]] = {
    "Softplus": _softplus,
    "Mish": _mish,
    "Softsign": _softsign,
}


@lowers(*_FORMULAS, layout=FOLLOWS)
def composed(op: Op) -> None:
    """Several operators."""
    formula = Formula(op)
    _FORMULAS[op.node.op](formula, formula.read())


@lowers("com.microsoft.QuickGelu", layout=FOLLOWS)
def quick_gelu(op: Op) -> None:
    """x sigmoid(alpha x)."""
    formula = Formula(op)
    x = formula.read()
    formula.write("MUL", x, formula("LOGISTIC", formula("MUL", x, float(op.attr("alpha", 1.702)))))


@lowers("ThresholdedRelu", layout=FOLLOWS)
def thresholded_relu(op: Op) -> None:
    """What is above a threshold, and zeros."""
    formula = Formula(op)
    x = formula.read()
    formula.write("SELECT_V2", formula("GREATER", x, float(op.attr("alpha", 1.0))), x, 0.0)


@lowers("Shrink", layout=FOLLOWS)
def shrink(op: Op) -> None:
    """Zeros around zero, and what is outside moved towards it."""
    limit, bias, formula = float(op.attr("lambd", 0.5)), float(op.attr("bias", 0.0)), Formula(op)
    x = formula.read()
    below = formula("SELECT_V2", formula("LESS", x, -limit), _moved(formula, x, bias), 0.0)
    formula.write("SELECT_V2", formula("GREATER", x, limit), _moved(formula, x, -bias), below)


def _moved(formula: Formula, x: Tensor, by: float) -> Tensor:
    return x if math.isclose(by, 0.0) else formula("ADD", x, by)
