"""Values in a larger shape, and choices between two of them at every place."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op

Sizes = tuple[int, ...]


def choose(op: Op, condition: Any, a: Any, b: Any) -> Any:
    """select: `a` where the condition holds, else `b`; both may be numbers.

    Core ML Tools take the result to have the shape that `a` and `b` have together, so one of them gets the
    condition's axes before.
    """
    shapes = [_sizes(value) for value in (condition, a, b)]
    known = [shape for shape in shapes if shape is not None]
    if len(known) == len(shapes):
        wanted = np.broadcast_shapes(*known)
        if np.broadcast_shapes(*known[1:]) != wanted:
            a = broadcast(op, a, wanted)
    return op("select", cond=condition, a=a, b=b)


def _sizes(value: Any) -> Sizes | None:
    """The shape of a variable, an array or a number; None if it is open."""
    shape = getattr(value, "shape", ())
    return tuple(map(int, shape)) if all(isinstance(size, int | np.integer) for size in shape) else None


def broadcast(op: Op, value: Any, wanted: Sizes) -> Any:
    """A variable, an array or a number, repeated until it has a shape."""
    if not hasattr(value, "sym_type"):
        return np.broadcast_to(value, wanted).copy()
    shape = tuple(value.shape)
    extended = (1,) * (len(wanted) - len(shape)) + shape
    if extended != shape:
        value = op("reshape", x=value, shape=np.array(extended, np.int32))
    repeats = [after // before for before, after in zip(extended, wanted, strict=True)]
    return op("tile", x=value, reps=np.array(repeats, np.int32)) if any(n != 1 for n in repeats) else value
