"""Elementwise arithmetic of two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import Unsupported, lowers

_CODES = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}


@lowers(*_CODES, layout=FOLLOWS, activates=True)
def arithmetic(op: Op) -> None:
    """ADD, SUB, MUL, DIV."""
    formula = Formula(op)
    inputs = [formula.read(0), formula.read(1)]
    if op.node.op == "Div" and inputs[0].dtype == np.int64:
        raise Unsupported("LiteRT does not divide integers of more than 32 bits")
    options: dict[str, Any] = {"fusedActivationFunction": op.activation}
    if op.node.op in ("Add", "Sub") and inputs[0].dtype.name == "int16":
        options["potScaleInt16"] = False
    formula.write(_CODES[op.node.op], *inputs, **options)
