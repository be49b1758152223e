"""Gather and its kin."""

from __future__ import annotations

import math

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_rules import Follows, rank
from pruna_ir.backends.tflite.layouts import Layout, identity
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

# Types that GATHER moves; others are cast to one of them and back.
_MOVED = {"float32", "int8", "uint8", "int16", "int32", "bool"}


class _Gathers(Follows):
    """Any layout if the indices are a list, which leaves the axes what they are; else that of ONNX."""

    def _keeps_axes(self, kernel: Kernel) -> bool:
        return rank(kernel.inputs[1]) == 1

    def fixed(self, kernel: Kernel) -> Layout | None:
        return super().fixed(kernel) if self._keeps_axes(kernel) else identity(rank(kernel.inputs[0]))

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode if self._keeps_axes(kernel) else identity(rank(kernel.outputs[0]))


@lowers("Gather", layout=_Gathers(only=(0,)))
def gather(op: Op) -> None:
    """GATHER, or SLICE where the indices are one constant."""
    axis = int(op.attr("axis", 0)) % len(op.shape())
    size = op.shape()[axis]
    known = op.constant(1)
    data = op.read()
    if known is not None and known.size == 1:
        _pick(op, data, op.axis(axis), int(known.reshape(())) % size)
        return
    indices = positive(op, 1, size)
    _gather(op, data, indices, op.axis(axis))


def _pick(op: Op, data: Tensor, axis: int, index: int) -> None:
    """One place of an axis."""
    begin = [index if place == axis else 0 for place in range(len(data.shape))]
    sizes = [1 if place == axis else size for place, size in enumerate(data.shape)]
    output = op.write()
    sizes_read = op.const(sizes)
    if output.shape == tuple(sizes):
        op.emit("SLICE", [data, op.const(begin), sizes_read], output)
    else:
        part = op.apply("SLICE", [data, op.const(begin), sizes_read], sizes, data)
        op.tensors.reshape_into(part, output)


def _gather(op: Op, data: Tensor, indices: Tensor, axis: int) -> None:
    formula, output = Formula(op), op.write()
    if data.dtype.name in _MOVED:
        op.emit("GATHER", [data, indices], output, axis=axis, batchDims=0)
        return
    wide = formula.computable(data)
    picked = op.apply("GATHER", [wide, indices], output.shape, wide, axis=axis, batchDims=0)
    formula.into("CAST", output, picked)


def positive(op: Op, index: int, size: int) -> Tensor:
    """Indices into an axis, those that count from its end counted from its start."""
    known = op.constant(index)
    if known is not None:
        return op.const(known % size)
    formula = Formula(op)
    indices = op.read(index, identity(len(op.shape(index))))
    return formula("FLOOR_MOD", formula.cast(indices, np.int32), size)


@lowers("GatherElements")
def gather_elements(op: Op) -> None:
    """GATHER of a list: where an element is in it follows from its index, and from where the index stands."""
    shape, wanted = op.shape(0), op.shape(1)
    axis = int(op.attr("axis", 0)) % len(shape)
    places = flat_places(op, 1, shape, wanted, axis)
    flat = op.reshape(op.read(0), (math.prod(shape),))
    formula, output = Formula(op), op.write()
    if flat.dtype.name not in _MOVED:
        flat = formula.computable(flat)
    picked = op.temp(output.shape, flat)
    if flat.dtype == output.dtype:
        op.emit("GATHER", [flat, places], output, axis=0, batchDims=0)
    else:
        op.emit("GATHER", [flat, places], picked, axis=0, batchDims=0)
        formula.into("CAST", output, picked)


def flat_places(op: Op, index: int, shape: tuple[int, ...], wanted: tuple[int, ...], axis: int) -> Tensor:
    """Where elements of a tensor of `shape` are in the list of all, for indices into an axis at all of `wanted`."""
    strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    grid = np.indices(wanted, sparse=True)
    rest = sum((grid[place] * strides[place] for place in range(len(shape)) if place != axis), np.zeros((), np.int64))
    offsets = np.broadcast_to(rest, wanted)
    known = op.constant(index)
    if known is not None:
        return op.const(known % shape[axis] * strides[axis] + offsets)
    formula = Formula(op)
    indices = formula("MUL", positive(op, index, shape[axis]), strides[axis])
    return formula("ADD", indices, op.const(offsets))


@lowers("GatherND")
def gather_nd(op: Op) -> None:
    """GATHER_ND; dimensions of batches become parts of the indices."""
    batch = int(op.attr("batch_dims", 0))
    shape, wanted = op.shape(0), op.shape(1)
    known = op.constant(1)
    data, formula = op.read(0), Formula(op)
    if data.dtype.name not in _MOVED:
        raise Unsupported(f"LiteRT does not gather {data.dtype}")
    sizes = np.array(shape[batch : batch + wanted[-1]], np.int64)
    if known is not None:
        indices = op.const(_with_batches(known % sizes, batch))
    else:
        indices = formula("FLOOR_MOD", formula.cast(op.read(1), np.int32), op.const(sizes))
        if batch:
            places = _with_batches(np.zeros(wanted, np.int64), batch)[..., :batch]
            joined = op.temp([*wanted[:-1], wanted[-1] + batch], indices)
            op.emit("CONCATENATION", [op.const(places), indices], joined, axis=len(wanted) - 1)
            indices = joined
    op.emit("GATHER_ND", [data, indices], op.write())


def _with_batches(indices: np.ndarray, batch: int) -> np.ndarray:
    """Indices with those of the leading axes that they stand in in front."""
    places = np.indices(indices.shape[:-1])[:batch]
    return np.concatenate([*places[..., None], indices], axis=-1)
