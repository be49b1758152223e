"""Parts of tensors: Slice and Split, and their repetition: Tile and Expand."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import lowers

# What SPLIT_V moves; others are cut piece by piece.
_SPLITS = {"float32", "int8", "uint8", "int16", "int32", "int64"}


@lowers("Slice", layout=DATA_FOLLOWS)
def slice_(op: Op) -> None:
    """SLICE, or STRIDED_SLICE where there are steps."""
    sizes = op.shape()
    starts, ends = (_integers(op, index, what) for index, what in ((1, "start"), (2, "end")))
    axes = _integers(op, 3, "list of axes") if op.has(3) else list(range(len(starts)))
    steps = _integers(op, 4, "step") if op.has(4) else [1] * len(starts)
    parts = [slice(0, size, 1) for size in sizes]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis %= len(sizes)
        parts[axis] = slice(*slice(start, end, step).indices(sizes[axis]))
    data, output = op.read(), op.write()
    if output.shape == data.shape and all(part.step == 1 for part in parts):
        op.tensors.reshape_into(data, output)
    elif all(part.step == 1 for part in parts):
        starting = op.const(op.stored(part.start for part in parts))
        op.emit("SLICE", [data, starting, op.const(output.shape)], output)
    else:
        begin, stop, stride = (
            op.const(op.stored(values))
            for values in ([p.start for p in parts], [p.stop for p in parts], [p.step for p in parts])
        )
        # An end before the first element, which a negative step goes to, is told by a mask.
        mask = sum(1 << op.axis(axis) for axis, part in enumerate(parts) if part.stop < 0)
        op.emit("STRIDED_SLICE", [data, begin, stop, stride], output, endMask=mask)


def _integers(op: Op, index: int, what: str) -> list[int]:
    limits = np.iinfo(np.int64)
    return [int(np.clip(int(value), limits.min, limits.max)) for value in op.required(index, what).reshape(-1)]


@lowers("Split", layout=DATA_FOLLOWS)
def split(op: Op) -> None:
    """SPLIT_V, or one SLICE a piece."""
    axis = int(op.attr("axis", 0))
    data = op.read()
    outputs = [op.write(index) for index in range(len(op.kernel.outputs))]
    stored = op.axis(axis)
    sizes = [output.shape[stored] for output in outputs]
    if len(outputs) == 1:
        op.tensors.reshape_into(data, outputs[0])
    elif data.dtype.name in _SPLITS and 0 not in sizes:
        place = op.const(stored)
        if len(set(sizes)) == 1:
            op.emit("SPLIT", [place, data], outputs, numSplits=len(outputs))
        else:
            op.emit("SPLIT_V", [data, op.const(sizes), place], outputs, numSplits=len(outputs))
    else:
        for number, output in enumerate(outputs):
            start = [0] * len(data.shape)
            start[stored] = sum(sizes[:number])
            op.emit("SLICE", [data, op.const(start), op.const(output.shape)], output)


@lowers("Tile", layout=DATA_FOLLOWS)
def tile(op: Op) -> None:
    """TILE."""
    repeats = op.required(1, "number of repetitions").reshape(-1).tolist()
    op.emit("TILE", [op.read(), op.const(op.stored(repeats))], op.write())


@lowers("Expand", layout=DATA_FOLLOWS)
def expand(op: Op) -> None:
    """BROADCAST_TO."""
    data, output = op.read(), op.write()
    if data.shape == output.shape or np.prod(data.shape) == np.prod(output.shape):
        op.tensors.reshape_into(data, output)
    else:
        op.emit("BROADCAST_TO", [data, op.const(output.shape)], output)
