"""What is known of a node's inputs when the shape of its output is worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.passes.simplify.shapes.values import Entries, known

# Dimensions of a tensor; None where one is not known, and for a tensor of which not even the rank is.
Dims = list[Entry | None]


@dataclass(frozen=True)
class Inputs:
    """Dimensions of a node's inputs, which of them are there, and the elements of those that are small."""

    dims: Sequence[Dims | None]
    given: Sequence[bool]
    elements: Callable[[int], Entries | None]

    def numbers(self, index: int) -> list[int] | None:
        """The elements of an input as numbers; None if it is left out or one of them is not known."""
        return known(self.elements(index)) if self.has(index) else None

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.given) and self.given[index]


def data(inputs: Inputs) -> Dims:
    """The dimensions of the first input, which must be known."""
    assert inputs.dims[0] is not None
    return inputs.dims[0]


def size(dims: Dims) -> Entry:
    """How many elements there are; ValueError if that is not known."""
    if any(dim is None for dim in dims):
        raise ValueError("not known")
    return symbolic.product([dim for dim in dims if dim is not None])


def broadcast(shapes: Sequence[Dims | None]) -> Dims | None:
    """The dimensions of an elementwise result."""
    if any(dims is None for dims in shapes):
        return None
    rank = max(len(dims) for dims in shapes if dims is not None)
    result: Dims = [1] * rank
    for dims in shapes:
        assert dims is not None
        for axis, dim in enumerate(dims, rank - len(dims)):
            result[axis] = _together(result[axis], dim)
    return result


def _together(first: Entry | None, second: Entry | None) -> Entry | None:
    for mine, other in ((first, second), (second, first)):
        if mine == 1 and isinstance(mine, int):
            return other
        if isinstance(mine, int):
            return mine  # the other is one, or the same
    return first if first == second else None
