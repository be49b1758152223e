"""ScatterND and ScatterElements."""

from __future__ import annotations

import math

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.gathering import flat_places
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

_COMPUTED = {"float32", "int32"}


@lowers("ScatterND")
def scatter_nd(op: Op) -> None:
    """SCATTER_ND adds updates up in zeros: its sum with the data, or a choice between the two."""
    indices, shape = _coordinates(op), op.shape(0)
    _scatter(op, indices, op.read(2), op.read(0), shape)


def _coordinates(op: Op) -> Tensor:
    """The indices, counted from the start of the axes."""
    depth, known = op.shape(1)[-1], op.constant(1)
    sizes = np.array(op.shape(0)[:depth], np.int64)
    if known is not None:
        return op.const(known % sizes)
    formula = Formula(op)
    return formula("FLOOR_MOD", formula.cast(op.read(1), np.int32), op.const(sizes))


@lowers("ScatterElements", "Scatter")
def scatter_elements(op: Op) -> None:
    """SCATTER_ND in the list of all elements."""
    shape, wanted = op.shape(0), op.shape(1)
    axis = int(op.attr("axis", 0)) % len(shape)
    count, total = math.prod(wanted), math.prod(shape)
    places = op.reshape(flat_places(op, 1, shape, wanted, axis), (count, 1))
    _scatter(op, places, op.reshape(op.read(2), (count,)), op.reshape(op.read(0), (total,)), (total,))


def _scatter(op: Op, indices: Tensor, updates: Tensor, data: Tensor, shape: tuple[int, ...]) -> None:
    """Write the data with updates at indices into a tensor of `shape`."""
    formula, reduction = Formula(op), str(op.attr("reduction", "none"))
    updates, data = formula.computable(updates), formula.computable(data)
    if data.dtype == np.bool_:
        updates, data = formula.cast(updates, np.int32), formula.cast(data, np.int32)
    if data.dtype.name not in _COMPUTED or reduction not in ("none", "add"):
        raise Unsupported(f"LiteRT does not scatter {data.dtype} with the reduction `{reduction}`")
    extent = op.const(shape)
    added = op.apply("SCATTER_ND", [indices, updates, extent], shape, updates)
    if reduction == "add":
        result = formula("ADD", data, added)
    else:
        ones = op.const(np.ones(updates.shape), np.int32)
        hit = op.apply("SCATTER_ND", [indices, ones, extent], shape, ones)
        result = formula("SELECT_V2", formula("GREATER", hit, 0), added, data)
    formula.give(op.reshape(result, op.result_shape()))
