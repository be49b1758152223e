"""Comparisons, logic, and the choice between two tensors."""

from __future__ import annotations

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import lowers

_COMPARISONS = {
    "Equal": "EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
}
_LOGIC = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL"}


@lowers(*_COMPARISONS, layout=FOLLOWS)
def comparison(op: Op) -> None:
    """EQUAL and the like."""
    formula = Formula(op)
    formula.write(_COMPARISONS[op.node.op], formula.read(0), formula.read(1))


@lowers(*_LOGIC, layout=FOLLOWS)
def logic(op: Op) -> None:
    """LOGICAL_AND, LOGICAL_OR, NOT_EQUAL."""
    op.emit(_LOGIC[op.node.op], [op.read(0), op.read(1)], op.write())


@lowers("Not", layout=FOLLOWS)
def negation(op: Op) -> None:
    """LOGICAL_NOT."""
    op.emit("LOGICAL_NOT", [op.read()], op.write())


@lowers("Where", layout=FOLLOWS)
def where(op: Op) -> None:
    """SELECT_V2."""
    op.emit("SELECT_V2", [op.read(0), op.read(1), op.read(2)], op.write())
