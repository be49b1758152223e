"""Operators that move values, and change none."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.unsupported import Unsupported


@lowers("Reshape", "Flatten")
def reshape(op: Op) -> None:
    """reshape."""
    op.write(op("reshape", x=op.read(), shape=_target(op)))


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


@lowers("Squeeze")
def squeeze(op: Op) -> None:
    """squeeze."""
    axes = listed(op, 1, "axes")
    if axes is None:
        axes = [axis for axis, size in enumerate(op.shape()) if size == 1]
    op.write(op("squeeze", x=op.read(), axes=sorted(axis % op.rank() for axis in axes)) if axes else op.read())


@lowers("Unsqueeze")
def unsqueeze(op: Op) -> None:
    """expand_dims."""
    axes = listed(op, 1, "axes") or []
    rank = op.rank() + len(axes)
    op.write(op("expand_dims", x=op.read(), axes=sorted(axis % rank for axis in axes)))


def listed(op: Op, index: int, name: str) -> list[int] | None:
    """A list of integers that is an attribute in old opsets, and an input in new ones; None if it is left out."""
    if op.has(index):
        return [int(value) for value in op.required(index, name).reshape(-1)]
    values = op.attr(name)
    return None if values is None else [int(value) for value in values]


@lowers("Identity", "Dropout")
def identity(op: Op) -> None:
    """Nothing."""
    if op.writes(1):
        raise Unsupported("Core ML does not tell what was dropped")
    op.values.place(op.node.outputs[0], op.read())


@lowers("Transpose")
def transpose(op: Op) -> None:
    """transpose."""
    order = op.attr("perm") or list(range(op.rank()))[::-1]
    op.write(op("transpose", x=op.read(), perm=[int(axis) for axis in order]))


@lowers("Concat")
def concat(op: Op) -> None:
    """concat."""
    parts = [op.read(index) for index in range(len(op.node.inputs))]
    op.write(op("concat", values=parts, axis=op.axis(0)) if len(parts) > 1 else op("identity", x=parts[0]))
