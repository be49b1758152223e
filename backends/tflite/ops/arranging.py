"""Blocks of space and channels; triangles, sums and turns along axes."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS, SPATIAL
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.axes import transposed
from pruna_ir.backends.tflite.table import Unsupported, lowers

# What DEPTH_TO_SPACE and SPACE_TO_DEPTH move.
_BLOCKS = {"float32", "int8", "uint8", "int32"}
_SUMMED = {"float32", "int32"}


@lowers("DepthToSpace", layout=SPATIAL)
def depth_to_space(op: Op) -> None:
    """DEPTH_TO_SPACE has the places of a block before the channels; with `CRD` they come behind."""
    block, data, output = int(op.attr("blocksize")), op.read(), op.write()
    if op.attr("mode", "DCR") == "DCR" and data.dtype.name in _BLOCKS:
        op.emit("DEPTH_TO_SPACE", [data], output, blockSize=block)
        return
    batch, height, width, channels = data.shape
    depth = channels // block**2
    if op.attr("mode", "DCR") == "DCR":
        split, order = (batch, height, width, block, block, depth), [0, 1, 3, 2, 4, 5]
    else:
        split, order = (batch, height, width, depth, block, block), [0, 1, 4, 2, 5, 3]
    op.tensors.reshape_into(transposed(op, op.reshape(data, split), order), output)


@lowers("SpaceToDepth", layout=SPATIAL)
def space_to_depth(op: Op) -> None:
    """SPACE_TO_DEPTH has the places of a block before the channels; with `CRD` they come behind."""
    block, data, output = int(op.attr("blocksize")), op.read(), op.write()
    places_first = op.attr("mode", "DCR") == "DCR"
    if places_first and data.dtype.name in _BLOCKS:
        op.emit("SPACE_TO_DEPTH", [data], output, blockSize=block)
        return
    batch, height, width, channels = data.shape
    split = (batch, height // block, block, width // block, block, channels)
    order = [0, 1, 3, 2, 4, 5] if places_first else [0, 1, 3, 5, 2, 4]
    op.tensors.reshape_into(transposed(op, op.reshape(data, split), order), output)


@lowers("CumSum", layout=DATA_FOLLOWS)
def cumulative_sum(op: Op) -> None:
    """CUMSUM."""
    axis = op.axis(int(op.required(1, "axis").reshape(())))
    formula = Formula(op)
    data = formula.read()
    if data.dtype.name not in _SUMMED:
        raise Unsupported(f"LiteRT does not add {data.dtype} up")
    exclusive, reverse = bool(op.attr("exclusive", 0)), bool(op.attr("reverse", 0))
    total = op.apply("CUMSUM", [data, op.const(axis)], data.shape, data, exclusive=exclusive, reverse=reverse)
    formula.give(total)


@lowers("ReverseSequence")
def reverse_sequence(op: Op) -> None:
    """REVERSE_SEQUENCE."""
    time, batch = int(op.attr("time_axis", 0)), int(op.attr("batch_axis", 1))
    op.emit("REVERSE_SEQUENCE", [op.read(0), op.read(1)], op.write(), seqDim=time, batchDim=batch)


@lowers("Trilu")
def triangle(op: Op) -> None:
    """SELECT_V2 between the matrix and zeros, by a mask."""
    rows, columns = op.shape()[-2:]
    k = int(op.required(1, "diagonal").reshape(())) if op.has(1) else 0
    ones = np.ones((rows, columns), bool)
    mask = np.triu(ones, k) if op.attr("upper", 1) else np.tril(ones, k)
    data = op.read()
    mask = mask.reshape((1,) * (len(data.shape) - 2) + mask.shape)
    zero = op.const(np.zeros((1,) * len(data.shape)), data.dtype, data.quantization)
    op.emit("SELECT_V2", [op.const(mask, np.bool_), data, zero], op.write())
