"""Values at places that indices name: Gather, Scatter and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.broadcasting import broadcast, choose
from pruna_ir.backends.coreml.ops.slicing import sliced
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported

_MODES = {"none": "update", "add": "add", "mul": "mul", "min": "min", "max": "max"}


def positive(op: Op, index: int, size: int | np.ndarray) -> Any:
    """Indices into an axis (or a size for each of the last axis), those that count from its end from its start."""
    known = op.constant(index)
    if known is not None:
        return np.asarray(known % size).astype(np.int32)
    indices = op.read(index)
    shifted = op("add", x=indices, y=np.asarray(size, np.int32))
    return op("select", cond=op("less", x=indices, y=0), a=shifted, b=indices)


@lowers("Gather")
def gather(op: Op) -> None:
    """gather; of a table with as many rows as the index can say."""
    axis = op.axis(0)
    size = op.read().shape[axis]
    op.write(op("gather", x=op.read(), indices=positive(op, 1, _number(size)), axis=axis))


def _number(size: Any) -> int:
    if not isinstance(size, int | np.integer):
        raise Unsupported("it gathers along an axis whose size is not fixed")
    return int(size)


@lowers("GatherElements")
def gather_elements(op: Op) -> None:
    """gather_along_axis, of what there are indices for."""
    axis, shape, wanted = op.axis(0), op.shape(0), op.shape(1)
    cuts = {place: [0, wanted[place], 1] for place in range(len(shape)) if place != axis}
    cuts = {place: cut for place, cut in cuts.items() if cut[1] != shape[place]}
    data = sliced(op, op.read(), cuts) if cuts else op.read()
    op.write(op("gather_along_axis", x=data, indices=positive(op, 1, shape[axis]), axis=axis))


@lowers("GatherND")
def gather_nd(op: Op) -> None:
    """gather_nd."""
    batch, shape = int(op.attr("batch_dims", 0)), op.shape(0)
    sizes = np.array(shape[batch : batch + op.shape(1)[-1]], np.int64)
    op.write(op("gather_nd", x=op.read(), indices=positive(op, 1, sizes), batch_dims=batch))


@lowers("ScatterND")
def scatter_nd(op: Op) -> None:
    """scatter_nd."""
    sizes = np.array(op.shape(0)[: op.shape(1)[-1]], np.int64)
    op.write(_scattered(op, positive(op, 1, sizes), op.read(2)))


@lowers("ScatterElements", "Scatter")
def scatter_elements(op: Op) -> None:
    """scatter_nd, with the place of every index in front of it."""
    axis, shape, wanted = op.axis(0), op.shape(0), op.shape(1)
    grid = np.broadcast_arrays(*np.indices(wanted, sparse=True))
    known = op.constant(1)
    if known is not None:
        places = np.stack([known % shape[axis] if place == axis else part for place, part in enumerate(grid)], -1)
        indices: Any = places.astype(np.int32)
    else:
        own = positive(op, 1, shape[axis])
        parts = [own if place == axis else part.astype(np.int32) for place, part in enumerate(grid)]
        indices = op("stack", values=parts, axis=len(wanted))
    op.write(_scattered(op, indices, op.read(2)))


def _scattered(op: Op, indices: Any, updates: Any) -> Any:
    reduction = op.attr("reduction", "none")
    if reduction not in _MODES:
        raise Unsupported(f"the reduction {reduction} is not known")
    return op("scatter_nd", data=op.read(0), indices=indices, updates=updates, mode=_MODES[reduction])


@lowers("OneHot")
def one_hot(op: Op) -> None:
    """one_hot, and the two values for its ones and zeros."""
    rank = op.rank() + 1
    axis = int(op.attr("axis", -1)) % rank
    depth = op.result_shape()[axis]
    known = op.constant(0)
    indices = op.cast(op.read(0), np.int32) if known is None else known.astype(np.int64).astype(np.int32)
    if known is None:
        shifted = op("add", x=indices, y=depth)
        indices = op("select", cond=op("less", x=indices, y=0), a=shifted, b=indices)
    else:
        indices = np.where(indices < 0, indices + depth, indices).astype(np.int32)
    places = np.arange(depth, dtype=np.int32).reshape([-1 if place == axis else 1 for place in range(rank)])
    hits = op("equal", x=op("expand_dims", x=indices, axes=[axis]), y=places)
    values = op.read(2)
    off, on = (op("slice_by_index", x=values, begin=[k], end=[k + 1], squeeze_mask=[True]) for k in (0, 1))
    op.write(choose(op, hits, on, off))


@lowers("TopK")
def top_k(op: Op) -> None:
    """topk."""
    count = op.result_shape()[op.axis(-1)]
    ascending, sort = not op.attr("largest", 1), bool(op.attr("sorted", 1))
    found = op("topk", x=op.read(), k=count, axis=op.axis(-1), ascending=ascending, sort=sort or None)
    for index, var in enumerate(found):
        if op.writes(index):
            op.write(var, index)


@lowers("TensorScatter")
def tensor_scatter(op: Op) -> None:
    """At every place of the cache what came before it, or the row of the update that belongs there."""
    shape, update = op.shape(0), op.shape(1)
    axis = op.axis(-2)
    size, rows = shape[axis], update[axis]
    line = [1] * len(shape)
    line[axis] = size
    places = op("identity", x=np.arange(size, dtype=np.int32).reshape(line))
    if op.has(2):
        starts = op("reshape", x=op.cast(op.read(2), np.int32), shape=[shape[0]] + [1] * (len(shape) - 1))
        places = op("sub", x=places, y=starts)
        if op.attr("mode", "linear") == "circular":
            places = op("mod", x=places, y=size)  # has the sign of the divisor
    whole = broadcast(op, places, shape)
    inside = op("logical_and", x=op("greater_equal", x=whole, y=0), y=op("less", x=whole, y=rows))
    within = op("minimum", x=op("maximum", x=whole, y=0), y=rows - 1)
    fresh = op("gather_along_axis", x=op.read(1), indices=within, axis=axis)
    op.write(choose(op, inside, fresh, op.read(0)))
