"""Pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.moving import listed
from pruna_ir.backends.coreml.ops.slicing import sliced
from pruna_ir.backends.coreml.ops.windows import interleaved
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported

# Where the value of a place before or behind an axis is taken from, in the words of NumPy.
_SOURCES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


@lowers("Pad")
def pad(op: Op) -> None:
    """pad with a constant; else gather along every axis that grows."""
    rank = op.rank()
    before, after = _amounts(op, rank)
    mode, data = op.attr("mode", "constant"), op.read()
    cuts = {
        axis: [max(-b, 0), _end(op, axis, -a) if a < 0 else 2**31 - 1, 1]
        for axis, (b, a) in enumerate(zip(before, after, strict=True))
        if b < 0 or a < 0
    }
    data = sliced(op, data, cuts) if cuts else data
    before, after = ([max(number, 0) for number in side] for side in (before, after))
    if mode == "constant":
        value = op.required(2, "value").reshape(()) if op.has(2) else np.zeros(())
        if op.is_float(data):
            data = op("pad", x=data, pad=interleaved(before, after), mode="constant", constant_val=value)
        else:
            data = _surrounded(op, data, (before, after), value)
    elif mode in _SOURCES:
        for axis in range(rank):
            if before[axis] or after[axis]:
                data = _gathered(op, data, axis, (before[axis], after[axis]), _SOURCES[mode])
    else:
        raise Unsupported(f"the mode {mode} is not known")
    op.write(data)


def _surrounded(op: Op, data: Any, amounts: tuple[list[int], list[int]], value: np.ndarray) -> Any:
    """Blocks of a constant beside a variable, for types that `pad` does not take."""
    for axis, (before, after) in enumerate(zip(*amounts, strict=True)):
        blocks = [
            np.full([count if place == axis else int(size) for place, size in enumerate(data.shape)], value, np.int32)
            for count in (before, after)
        ]
        parts = [blocks[0]] * (before > 0) + [data] + [blocks[1]] * (after > 0)
        data = op("concat", values=parts, axis=axis) if len(parts) > 1 else data
    return data


def _amounts(op: Op, rank: int) -> tuple[list[int], list[int]]:
    """What is added before and behind every axis."""
    pads = listed(op, 1, "pads")
    assert pads is not None
    axes = listed(op, 3, "axes") or list(range(rank))
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis % rank], after[axis % rank] = pads[place], pads[place + len(axes)]
    return before, after


def _end(op: Op, axis: int, cut: int) -> int:
    return op.shape()[axis] - cut


def _gathered(op: Op, data: Any, axis: int, amounts: tuple[int, int], mode: str) -> Any:
    places = np.pad(np.arange(data.shape[axis], dtype=np.int32), amounts, mode=mode)  # type: ignore[call-overload]
    return op("gather", x=data, indices=places, axis=axis)
