"""Dimensions of what operators give that move, cut or join elements: a function for each."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.inputs import Dims, Inputs, broadcast, data, size
from pruna_ir.passes.simplify.shapes.symbolic import Entry


def transpose(node: gs.Node, inputs: Inputs) -> Dims:
    """What Transpose gives."""
    dims = data(inputs)
    return [dims[axis] for axis in node.attrs.get("perm", range(len(dims) - 1, -1, -1))]


def concat(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What Concat gives."""
    parts = [dims for dims in inputs.dims if dims is not None]
    if len(parts) < len(inputs.dims):
        return None
    axis = node.attrs["axis"] % len(parts[0])
    total: Entry | None = 0
    for dims in parts:
        total = None if total is None or dims[axis] is None else symbolic.add(total, dims[axis])
    columns = zip(*parts, strict=True)
    result: Dims = [next((dim for dim in column if isinstance(dim, int)), column[0]) for column in columns]
    result[axis] = total
    return result


def reshape(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What Reshape gives."""
    target = inputs.elements(1)
    if target is None or target.ndim != 1:
        return None
    dims, copies = data(inputs), not node.attrs.get("allowzero", 0)
    result: Dims = [dims[axis] if copies and _is(entry, 0) else entry for axis, entry in enumerate(target)]
    # An unknown entry that may be -1 says nothing.
    sure = [isinstance(entry, int) or symbolic.lowest(entry) >= 0 for entry in target]
    rest = [axis for axis, entry in enumerate(target) if _is(entry, -1)]
    if not all(sure):
        return [dim if fine else None for dim, fine in zip(result, sure, strict=True)] if not rest else None
    if rest:
        result[rest[0]] = _left(dims, [dim for axis, dim in enumerate(result) if axis != rest[0]])
    return result


def _left(dims: Dims, others: Dims) -> Entry:
    """The dimension that makes `others` hold as much as `dims`."""
    mine, unmatched = list(dims), []
    for dim in others:
        if dim in mine:
            mine.remove(dim)
        else:
            unmatched.append(dim)
    return symbolic.divide(size(mine), size(unmatched))


def _is(entry: Entry, number: int) -> bool:
    return isinstance(entry, int) and entry == number


def flatten(node: gs.Node, inputs: Inputs) -> Dims:
    """What Flatten gives."""
    dims, axis = data(inputs), node.attrs.get("axis", 1)
    axis += len(dims) if axis < 0 else 0
    return [size(dims[:axis]), size(dims[axis:])]


def squeeze(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Squeeze gives."""
    dims, axes = data(inputs), inputs.numbers(1)
    if axes is None:
        return None if inputs.has(1) or not all(isinstance(dim, int) for dim in dims) else [d for d in dims if d != 1]
    gone = {axis % len(dims) for axis in axes}
    return [dim for axis, dim in enumerate(dims) if axis not in gone]


def unsqueeze(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Unsqueeze gives."""
    axes = inputs.numbers(1)
    if axes is None:
        return None
    rank = len(data(inputs)) + len(axes)
    new, old = {axis % rank for axis in axes}, iter(data(inputs))
    return [1 if axis in new else next(old) for axis in range(rank)]


def expand(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Expand gives."""
    target = inputs.elements(1)
    return None if target is None else broadcast([data(inputs), list(target)])


def gather(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What Gather gives."""
    dims, indices = data(inputs), inputs.dims[1]
    axis = node.attrs.get("axis", 0) % len(dims)
    return None if indices is None else [*dims[:axis], *indices, *dims[axis + 1 :]]


def slice_(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Slice gives."""
    dims = list(data(inputs))
    starts, ends, steps = inputs.numbers(1), inputs.elements(2), inputs.numbers(4)
    axes = inputs.numbers(3)
    if starts is None or ends is None or (inputs.has(3) and axes is None):
        return None
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        dims[axis] = None if inputs.has(4) and steps is None else _cut(dims[axis], start, end, step)
    return dims


def _cut(dim: Entry | None, start: int, end: Entry, step: int) -> Entry | None:
    """What a slice leaves of a dimension."""
    if dim is None or step != 1:
        return None
    if isinstance(dim, int):
        return len(range(dim)[start:end]) if isinstance(end, int) else None
    if isinstance(end, int) and end >= 2**31 - 1:
        end = dim
    if start == 0 and end == dim:
        return dim
    # x[:3] of n may be shorter than 3; x[-3:] too.
    return None


def tile(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Tile gives."""
    repeats = inputs.elements(1)
    pairs = None if repeats is None else zip(data(inputs), repeats, strict=True)
    return None if pairs is None else [None if dim is None else symbolic.multiply(dim, times) for dim, times in pairs]


def pad(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Pad gives."""
    pads, dims = inputs.elements(1), data(inputs)
    if pads is None or inputs.has(3) or pads.size != 2 * len(dims):
        return None
    wider = [symbolic.add(before, after) for before, after in zip(pads[: len(dims)], pads[len(dims) :], strict=True)]
    return [None if dim is None else symbolic.add(dim, more) for dim, more in zip(dims, wider, strict=True)]
