"""Operators that move values, and change none."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.coreml.values import MOST_AXES
from pruna_ir.backends.unsupported import Unsupported


@lowers("Reshape", "Flatten", any_rank=True)
def reshape(op: Op) -> None:
    """reshape; nothing where the result has more axes than variables."""
    if _has_many_axes(op, of_result=True):
        op.values.place(op.node.outputs[0], op.read())
    else:
        op.write(op("reshape", x=op.read(), shape=_target(op)))


def _has_many_axes(op: Op, *, of_result: bool = False) -> bool:
    tensor = op.node.outputs[0] if of_result else op.node.inputs[0]
    return len(tensor.shape or ()) > MOST_AXES


def _target(op: Op) -> Any:
    """The new shape, in numbers if they are known; at most one of them is left to be found out."""
    shape = op.node.outputs[0].shape
    if shape is not None:
        numbers = [int(size) if isinstance(size, int | np.integer) else -1 for size in shape]
        if numbers.count(-1) <= 1:
            return np.array(numbers, np.int32)
    if op.op == "Flatten":
        raise Unsupported(f"the shape of `{op.node.outputs[0].name}` is not fixed: {shape}")
    wanted = op.constant(1)
    if wanted is None:
        return op.read(1)
    sizes = op("shape", x=op.read(0))
    if 0 not in wanted:
        return wanted.astype(np.int32)
    parts = [
        op("slice_by_index", x=sizes, begin=[place], end=[place + 1]) if size == 0 else np.array([size], np.int32)
        for place, size in enumerate(wanted)
    ]
    return op("concat", values=parts, axis=0)


def _is_computed(op: Op) -> bool:
    """Whether the axes are computed: the shapes tell enough of them."""
    return op.has(1) and op.constant(1) is None


@lowers("Squeeze", any_rank=True)
def squeeze(op: Op) -> None:
    """squeeze."""
    if _has_many_axes(op) or _is_computed(op):
        reshape(op)
        return
    axes = listed(op, 1, "axes")
    if axes is None:
        axes = [axis for axis, size in enumerate(op.shape()) if size == 1]
    op.write(op("squeeze", x=op.read(), axes=sorted(axis % op.rank() for axis in axes)) if axes else op.read())


@lowers("Unsqueeze", any_rank=True)
def unsqueeze(op: Op) -> None:
    """expand_dims."""
    if _has_many_axes(op, of_result=True) or _is_computed(op):
        reshape(op)
        return
    axes = listed(op, 1, "axes") or []
    rank = op.rank() + len(axes)
    op.write(op("expand_dims", x=op.read(), axes=sorted(axis % rank for axis in axes)))


def listed(op: Op, index: int, name: str) -> list[int] | None:
    """A list of integers that is an attribute in old opsets, and an input in new ones; None if it is left out."""
    if op.has(index):
        return [int(value) for value in op.required(index, name).reshape(-1)]
    values = op.attr(name)
    return None if values is None else [int(value) for value in values]


@lowers("Identity", "Dropout", any_rank=True)
def identity(op: Op) -> None:
    """Nothing; a Dropout tells that it dropped nothing."""
    if op.writes(1):
        op.write(op("identity", x=np.ones(op.shape(), np.bool_)), 1)
    op.values.place(op.node.outputs[0], op.read())


@lowers("Transpose", any_rank=True)
def transpose(op: Op) -> None:
    """transpose; of many axes with those as one that stay side by side."""
    if not _has_many_axes(op):
        order = op.attr("perm") or list(range(op.rank()))[::-1]
        op.write(op("transpose", x=op.read(), perm=[int(axis) for axis in order]))
        return
    shape = op.shape()
    sizes, order = _joined(shape, op.attr("perm") or list(range(len(shape)))[::-1])
    if len(sizes) > MOST_AXES:
        raise Unsupported(f"it moves {len(sizes)} axes, and Core ML allows {MOST_AXES}")
    data = op("reshape", x=op.read(), shape=np.array(sizes, np.int32))
    op.values.place(op.node.outputs[0], op("transpose", x=data, perm=order))


def _joined(shape: tuple[int, ...], order: list[int]) -> tuple[list[int], list[int]]:
    """Sizes and order of axes without those of size one, and with those as one that stay side by side."""
    groups: list[list[int]] = []
    for axis in (axis for axis in order if shape[axis] != 1):
        between = range(groups[-1][-1] + 1, axis) if groups else range(0)
        if groups and axis > groups[-1][-1] and all(shape[place] == 1 for place in between):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    before = sorted(groups)
    sizes = [int(np.prod([shape[axis] for axis in group])) for group in before]
    return sizes or [1], [before.index(group) for group in groups] or [0]


@lowers("Concat")
def concat(op: Op) -> None:
    """concat."""
    parts = [op.read(index) for index in range(len(op.node.inputs))]
    op.write(op("concat", values=parts, axis=op.axis(0)) if len(parts) > 1 else op("identity", x=parts[0]))
