"""What looks for places: TopK, ArgMax and ArgMin, OneHot, Hardmax."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_rules import Reduces, rank
from pruna_ir.backends.tflite.layouts import Layout
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.axes import from_last, to_last
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_CODES = {"ArgMax": "ARG_MAX", "ArgMin": "ARG_MIN"}
_SEARCHED = {"float32", "int32"}


class _Searches(Reduces):
    """Any layout; the axis that is searched goes, or stays with size one."""

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        if rank(kernel.outputs[index]) == len(mode):
            return mode
        gone = int(kernel.node.attrs.get("axis", 0)) % len(mode)
        return tuple(axis - (axis > gone) for axis in mode if axis != gone)


@lowers(*_CODES, layout=_Searches())
def argument(op: Op) -> None:
    """ARG_MAX, ARG_MIN; the last of equal ones is the first from the other end."""
    axis = op.axis(int(op.attr("axis", 0)))
    found = _first(op, _CODES[op.node.op], _searched(op, op.read()), axis, last=bool(op.attr("select_last_index", 0)))
    op.tensors.reshape_into(found, op.write())


def _searched(op: Op, data: Tensor) -> Tensor:
    formula = Formula(op)
    data = formula.computable(data)
    if op.integer or data.dtype.name in _SEARCHED:
        return data
    raise Unsupported(f"LiteRT does not search {data.dtype}")


def _first(op: Op, code: str, data: Tensor, axis: int, *, last: bool) -> Tensor:
    """The indices of the extremes along an axis, which goes."""
    shape = [size for place, size in enumerate(data.shape) if place != axis]
    if last:
        data = op.apply("REVERSE_V2", [data, op.const([axis])], data.shape, data)
    found = op.temp(shape, data, np.int32)
    op.emit(code, [data, op.const(axis)], found, outputType="INT32")
    if not last:
        return found
    return Formula(op)("SUB", op.const(data.shape[axis] - 1), found)


@lowers("TopK")
def top_k(op: Op) -> None:
    """TOPK_V2 works along the last axis, and finds the largest: others move there, and change their sign."""
    shape, axis = op.shape(), int(op.attr("axis", -1)) % len(op.shape())
    k = int(op.required(1, "number of places").reshape(()))
    formula, largest = Formula(op), bool(op.attr("largest", 1))
    data = to_last(op, _searched(op, op.read()), axis)
    if not largest:
        if op.integer:
            raise Unsupported("the smallest of quantized numbers are not found")
        # Of integers the complement, which cannot overflow.
        data = formula("NEG", data) if data.dtype.kind == "f" else formula("SUB", -1, data)
    counts = [*data.shape[:-1], k]
    values, places = op.temp(counts, data), op.temp(counts, data, np.int32)
    op.emit("TOPK_V2", [data, op.const(k)], [values, places])
    if not largest:
        values = formula("NEG", values) if values.dtype.kind == "f" else formula("SUB", -1, values)
    for index, tensor in enumerate((values, places)):
        if op.writes(index):
            formula.give(from_last(op, tensor, axis, len(shape)), index)


@lowers("Hardmax")
def hardmax(op: Op) -> None:
    """Where ARG_MAX is, a one."""
    shape = op.shape()
    axis = int(op.attr("axis", -1)) % len(shape)
    found = _first(op, "ARG_MAX", op.read(), axis, last=False)
    op.emit("ONE_HOT", [found, op.const(shape[axis]), *_on_off(op, 1, 0)], op.write(), axis=axis)


def _on_off(op: Op, on: float, off: float) -> list[Tensor]:
    return [op.const(value, np.float32) for value in (on, off)]


@lowers("OneHot")
def one_hot(op: Op) -> None:
    """ONE_HOT; indices that count from the end are moved first."""
    depth = int(op.required(1, "depth").reshape(()))
    axis = int(op.attr("axis", -1)) % (len(op.shape()) + 1)
    formula = Formula(op)
    indices = formula.cast(op.read(0), np.int32)
    indices = formula("SELECT_V2", formula("LESS", indices, 0), formula("ADD", indices, depth), indices)
    values = formula.computable(op.read(2))
    ends = [op.apply("SLICE", [values, op.const([place]), op.const([1])], (1,), values) for place in (1, 0)]
    on, off = (op.reshape(end, ()) for end in ends)
    hot = op.temp(op.result_shape(), values)
    op.emit("ONE_HOT", [indices, op.const(depth), on, off], hot, axis=axis)
    formula.give(hot)
