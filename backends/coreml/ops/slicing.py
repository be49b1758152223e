"""Parts of tensors: Slice and Split, and their repetition: Tile and Expand."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.broadcasting import broadcast
from pruna_ir.backends.coreml.ops.moving import listed
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported

_FAR = 2**31 - 1


@lowers("Slice")
def slice_(op: Op) -> None:
    """slice_by_index."""
    starts, ends = (listed(op, index, name) for index, name in ((1, "starts"), (2, "ends")))
    assert starts is not None and ends is not None
    axes = listed(op, 3, "axes") or list(range(len(starts)))
    steps = listed(op, 4, "steps") or [1] * len(starts)
    cuts = {axis % op.rank(): cut for axis, *cut in zip(axes, starts, ends, steps, strict=True)}
    op.write(sliced(op, op.read(), cuts))


def sliced(op: Op, data: Any, cuts: dict[int, list[int]]) -> Any:
    """A part of a variable: start, end and step by axis."""
    rank, sizes = len(data.shape), op.node.inputs[0].shape
    begin, end, stride, masks = [0] * rank, [0] * rank, [1] * rank, [True] * rank
    for axis, (start, stop, step) in cuts.items():
        size = sizes[axis]
        if isinstance(size, int | np.integer):
            part = slice(start, stop, step).indices(int(size))
            begin[axis], end[axis], stride[axis] = part
            masks[axis] = part[1] < 0
        else:
            begin[axis], end[axis], stride[axis], masks[axis] = _open(start, stop, step)
    return op("slice_by_index", x=data, begin=begin, end=end, stride=stride, end_mask=masks)


def _open(start: int, stop: int, step: int) -> tuple[int, int, int, bool]:
    """A part of an axis whose size is open."""
    if step < 0 or (0 <= stop < _FAR) or start <= -_FAR:
        raise Unsupported("it takes a part of an axis whose size is not fixed")
    return start, 0 if stop >= _FAR else stop, step, stop >= _FAR


@lowers("Split")
def split(op: Op) -> None:
    """split."""
    axis = op.axis(0)
    sizes = [op.result_shape(index)[axis] for index in range(len(op.node.outputs))]
    parts = op("split", x=op.read(), split_sizes=sizes, axis=axis) if len(sizes) > 1 else [op.read()]
    for index, part in enumerate(parts):
        if op.writes(index):
            op.write(part if len(sizes) > 1 else op("identity", x=part), index)


@lowers("Tile")
def tile(op: Op) -> None:
    """tile."""
    op.write(op("tile", x=op.read(), reps=op.required(1, "number of repetitions").reshape(-1).astype(np.int32)))


@lowers("Expand")
def expand(op: Op) -> None:
    """tile, along axes of size one."""
    op.write(broadcast(op, op.read(), op.result_shape()))
