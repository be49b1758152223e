"""Elementwise arithmetic of two tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_CODES = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}


@lowers(*_CODES, layout=FOLLOWS, activates=True)
def arithmetic(op: Op) -> None:
    """ADD, SUB, MUL, DIV; behind an ADD of masks what keeps their infinities."""
    formula = Formula(op)
    inputs = [formula.read(0), formula.read(1)]
    if op.node.op == "Div" and inputs[0].dtype == np.int64:
        raise Unsupported("LiteRT does not divide integers of more than 32 bits")
    options: dict[str, Any] = {"fusedActivationFunction": op.activation}
    if op.node.op in ("Add", "Sub") and inputs[0].dtype.name == "int16":
        options["potScaleInt16"] = False
    if op.node.op == "Add" and op.activation == "NONE" and not op.only_read_by("Softmax"):
        masks = [data for index, data in enumerate(inputs) if op.infinite(index)]
        if masks:
            _add_with_infinities(formula, inputs, masks, options)
            return
    formula.write(_CODES[op.node.op], *inputs, **options)


def _add_with_infinities(formula: Formula, inputs: list[Tensor], masks: list[Tensor], options: dict[str, Any]) -> None:
    """ADD, and the infinities of masks again: LiteRT's own kernel ends at the largest finite number.

    A Softmax makes the same of both; who looks for rows that are masked as a whole, or reads the sum, does not.
    """
    total = formula("ADD", *inputs, **options)
    for mask in masks[1:]:
        total = formula("SELECT_V2", _masked(formula, mask), mask, total)
    formula.write("SELECT_V2", _masked(formula, masks[0]), masks[0], total)


def _masked(formula: Formula, mask: Tensor) -> Tensor:
    """Where a mask is infinite."""
    if mask.data is None:
        return formula("EQUAL", mask, -math.inf)
    return formula.constant(np.isneginf(mask.data), np.bool_)
