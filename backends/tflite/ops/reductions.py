"""Reductions over axes."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import REDUCES, reduced_axes
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_CODES = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceProd": "REDUCE_PROD",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
}
_OF_BOOLEANS = {"REDUCE_MAX": "REDUCE_ANY", "REDUCE_MIN": "REDUCE_ALL"}


class _Reduction:
    """One reduction: its axes, and what comes before and behind it."""

    def __init__(self, op: Op) -> None:
        if len(op.node.inputs) > 1 and op.has(1):
            op.required(1, "list of axes")
        if 0 in op.shape():
            raise Unsupported("nothing is reduced: its input is empty")
        self.op, self.formula = op, Formula(op)
        self.axes = sorted(op.axis(axis) for axis in reduced_axes(op.node, len(op.mode)))

    def reduce(self, code: str, data: Tensor, *, keep: bool = True) -> Tensor:
        """A reduction whose result is read by another operator."""
        kept = [1 if axis in self.axes else size for axis, size in enumerate(data.shape)]
        shape = kept if keep else [size for axis, size in enumerate(data.shape) if axis not in self.axes]
        return self.op.apply(code, [data, self.op.const(self.axes)], shape, data, keepDims=keep)

    def write(self, code: str, data: Tensor) -> None:
        """The reduction that writes the output."""
        output = self.op.write()
        keep = bool(self.op.attr("keepdims", 1))
        if output.dtype != data.dtype:
            self.formula.into("CAST", output, self.reduce(code, data, keep=keep))
        else:
            self.op.emit(code, [data, self.op.const(self.axes)], output, keepDims=keep)

    def finish(self, code: str, data: Tensor) -> None:
        """Write the output by an operator on what was reduced."""
        self.formula.into(code, self.op.write(), data)

    @property
    def kept(self) -> bool:
        """Whether the axes that are reduced stay, with size one."""
        return bool(self.op.attr("keepdims", 1))


@lowers(*_CODES, layout=REDUCES)
def reduce(op: Op) -> None:
    """MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN; REDUCE_ANY and REDUCE_ALL of booleans."""
    found, code = _Reduction(op), _CODES[op.node.op]
    if not found.axes:
        found.formula.give(op.read())
        return
    data = op.read()
    if data.dtype == np.bool_:
        found.write(_OF_BOOLEANS[code], data)
    else:
        found.write(code, found.formula.computable(data))


@lowers("ReduceL1", "ReduceSumSquare", layout=REDUCES)
def sum_of(op: Op) -> None:
    """SUM of absolute values or of squares."""
    found = _Reduction(op)
    data = found.formula.read()
    terms = found.formula("ABS", data) if op.node.op == "ReduceL1" else found.formula("MUL", data, data)
    found.write("SUM", terms) if found.axes else found.formula.give(terms)


@lowers("ReduceL2", layout=REDUCES)
def l2(op: Op) -> None:
    """SQRT of the SUM of squares."""
    found = _Reduction(op)
    data = _floats(found)
    squares = found.formula("MUL", data, data)
    found.finish("SQRT", found.reduce("SUM", squares, keep=found.kept) if found.axes else squares)


@lowers("ReduceLogSum", layout=REDUCES)
def log_sum(op: Op) -> None:
    """LOG of the SUM."""
    found = _Reduction(op)
    data = _floats(found)
    found.finish("LOG", found.reduce("SUM", data, keep=found.kept) if found.axes else data)


@lowers("ReduceLogSumExp", layout=REDUCES)
def log_sum_exp(op: Op) -> None:
    """m + log(sum(exp(x - m))), where m is the largest number, lest exp overflow."""
    found = _Reduction(op)
    formula, data = found.formula, _floats(found)
    if not found.axes:
        formula.give(data)
        return
    bounds = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
    largest = found.reduce("REDUCE_MAX", data)
    largest = formula("MINIMUM", formula("MAXIMUM", largest, bounds[0]), bounds[1])
    total = formula("LOG", found.reduce("SUM", formula("EXP", formula("SUB", data, largest))))
    if found.kept:
        formula.write("ADD", total, largest)
    else:
        formula.give(formula("ADD", total, largest))


def _floats(found: _Reduction) -> Tensor:
    data = found.formula.read()
    if data.dtype.kind != "f":
        raise Unsupported("LiteRT has no roots and logarithms of integers")
    return data
