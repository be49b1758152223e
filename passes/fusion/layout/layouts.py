"""Two ways to lay out the same elements, and what turns one into the other: a Transpose or a Reshape.

A layout is seen from the tensors as they are (`old`), and says what they would be (`new`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.permutations import composed, inverse, is_identity, moves_units_only, permutation
from pruna_ir.passes.fusion.static_shapes import RESHAPES, static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import op_key

Size = int | str | None


class Layout(ABC):
    """How tensors are laid out, and how they would be: what a node between two conversions needs to know."""

    # Number of axes as they are, and as they would be.
    rank: int
    new_rank: int

    @abstractmethod
    def holds(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is known to have the old layout."""

    @abstractmethod
    def axis(self, axis: int) -> int | None:
        """Where an axis (from 0) goes; None if it does not stay an axis of its own."""

    @abstractmethod
    def shape(self, old: Sequence[Size]) -> list[Size]:
        """The shape that a tensor of the old layout would have."""

    @abstractmethod
    def constant(self, values: np.ndarray, *, full: bool) -> np.ndarray | None:
        """A constant operand in the new layout, None if it has none.

        `full`: it is a tensor of the layout, as in a Concat; else it is broadcast with one.
        """

    @abstractmethod
    def order(self, order: Sequence[int]) -> list[int] | None:
        """The order of a Transpose in the new layout, None if it has none."""

    @abstractmethod
    def joins(self, node: gs.Node) -> bool:
        """Whether a node and a conversion in a row can be one node."""

    @abstractmethod
    def enters(self, node: gs.Node) -> bool:
        """Whether a node converts from the new layout to the old: its input could be read directly."""

    @abstractmethod
    def leaves(self, node: gs.Node) -> bool:
        """Whether a node converts from the old layout to the new: its output would be its input."""

    @abstractmethod
    def into(self, tensor: gs.Tensor, writer: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        """A node without an output that converts `tensor` to the new layout, from what `writer` makes it of if given.

        The writer must be one that `joins`.
        """

    @abstractmethod
    def back(self, tensor: gs.Tensor, output: gs.Tensor, reader: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        """A node without an output that converts `tensor` to the old layout, and on to `output` as `reader` does."""


@dataclass(frozen=True)
class Permuted(Layout):
    """The axes in another order: new axis i is old axis `to_new[i]`."""

    to_new: tuple[int, ...]

    @property
    def rank(self) -> int:  # type: ignore[override]
        return len(self.to_new)

    @property
    def new_rank(self) -> int:  # type: ignore[override]
        return len(self.to_new)

    def holds(self, tensor: gs.Tensor) -> bool:
        return tensor.shape is not None and len(tensor.shape) == self.rank

    def axis(self, axis: int) -> int:
        return self.to_new.index(axis)

    def shape(self, old: Sequence[Size]) -> list[Size]:
        return [old[axis] for axis in self.to_new]

    def constant(self, values: np.ndarray, *, full: bool) -> np.ndarray | None:
        if (full and values.ndim != self.rank) or values.ndim > self.rank:
            return None
        if values.size == 1:
            return values
        moved = values.reshape((1,) * (self.rank - values.ndim) + values.shape).transpose(self.to_new)
        # Runtimes fuse a bias with the product before it only where it is a vector.
        return moved.reshape(-1) if not full and moved.shape[-1] == moved.size else moved

    def order(self, order: Sequence[int]) -> None:
        return None

    def joins(self, node: gs.Node) -> bool:
        return op_key(node) == "Transpose" and permutation(node) is not None

    def enters(self, node: gs.Node) -> bool:
        order = permutation(node) if self.joins(node) else None
        return order is not None and len(order) == self.rank and is_identity(composed(order, self.to_new))

    def leaves(self, node: gs.Node) -> bool:
        return self.joins(node) and permutation(node) == list(self.to_new)

    def into(self, tensor: gs.Tensor, writer: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        order = None if writer is None else permutation(writer)
        if writer is None or order is None:
            return gs.Node("Transpose", attrs={"perm": list(self.to_new)}, inputs=[tensor])
        return gs.Node("Transpose", attrs={"perm": composed(order, self.to_new)}, inputs=writer.inputs[:1])

    def back(self, tensor: gs.Tensor, output: gs.Tensor, reader: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        order = None if reader is None else permutation(reader)
        undo = inverse(self.to_new)
        return gs.Node("Transpose", attrs={"perm": composed(undo, order) if order else undo}, inputs=[tensor])


@dataclass(frozen=True)
class Regrouped(Layout):
    """The leading axes in other sizes with the same product, and `kept` trailing axes as they are."""

    old: tuple[int, ...]
    new: tuple[int, ...]
    kept: int

    @classmethod
    def between(cls, old: Sequence[int], new: Sequence[int]) -> Regrouped:
        """The layouts of two tensors of these shapes; as many trailing axes as are equal are kept."""
        pairs = zip(reversed(old), reversed(new), strict=False)
        kept = next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(old), len(new)))
        return cls(tuple(old[: len(old) - kept]), tuple(new[: len(new) - kept]), kept)

    @property
    def rank(self) -> int:  # type: ignore[override]
        return len(self.old) + self.kept

    @property
    def new_rank(self) -> int:  # type: ignore[override]
        return len(self.new) + self.kept

    def holds(self, tensor: gs.Tensor) -> bool:
        shape = static_shape(tensor)
        if shape is None or 0 in shape:  # in the target of a Reshape, 0 means something else
            return False
        return len(shape) == self.rank and shape[: len(self.old)] == self.old

    def axis(self, axis: int) -> int | None:
        return None if axis < len(self.old) else axis - len(self.old) + len(self.new)

    def shape(self, old: Sequence[Size]) -> list[Size]:
        return [*self.new, *old[len(self.old) :]]

    def constant(self, values: np.ndarray, *, full: bool) -> np.ndarray | None:
        cut = max(values.ndim - self.kept, 0)
        leading, trailing = values.shape[:cut], values.shape[cut:]
        if not full and math.prod(leading) == 1:
            return values.reshape(trailing)
        fits = values.ndim == self.rank and leading == self.old
        return values.reshape(self.new + trailing) if fits else None

    def order(self, order: Sequence[int]) -> list[int] | None:
        fixed = len(self.old)
        if list(order[:fixed]) != list(range(fixed)):
            return None
        return [*range(len(self.new)), *(axis - fixed + len(self.new) for axis in order[fixed:])]

    def joins(self, node: gs.Node) -> bool:
        static = static_shape(node.inputs[0]) is not None and static_shape(node.outputs[0]) is not None
        return op_key(node) in RESHAPES and static

    def enters(self, node: gs.Node) -> bool:
        return self._pair(node, node.outputs[0], node.inputs[0])

    def leaves(self, node: gs.Node) -> bool:
        return self._pair(node, node.inputs[0], node.outputs[0])

    def _pair(self, node: gs.Node, old: gs.Tensor, new: gs.Tensor) -> bool:
        """Whether a node keeps the order of the elements of two tensors, which have the old and the new layout."""
        if op_key(node) not in RESHAPES and not moves_units_only(node):
            return False
        return self.holds(old) and static_shape(new) == tuple(self.shape(old.shape))

    def into(self, tensor: gs.Tensor, writer: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        source = tensor if writer is None else writer.inputs[0]
        return _reshape(source, self.shape(tensor.shape), rewriter)

    def back(self, tensor: gs.Tensor, output: gs.Tensor, reader: gs.Node | None, rewriter: Rewriter) -> gs.Node:
        return _reshape(tensor, output.shape, rewriter)


def _reshape(tensor: gs.Tensor, shape: Sequence[Size], rewriter: Rewriter) -> gs.Node:
    target = rewriter.constant(f"{tensor.name}_shape", np.array(shape, np.int64))
    return gs.Node("Reshape", inputs=[tensor, target])
