"""Where the heads of attention come from: a tensor of three axes, behind reshapes and transposes.

An operand of attention has the axes batch, heads, tokens and size. Going back from it, each tensor's axes are lists of
these factors: a Transpose permutes the lists, a Reshape groups the factors anew, a Gather adds one that picks. What is
looked for is a tensor with batch, tokens, and heads times size, as a linear layer writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.permutations import permutation
from pruna_ir.passes.fusion.static_shapes import RESHAPES
from pruna_ir.passes.recognition.insertion import Surroundings
from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.pipeline.patterns import scalar
from pruna_ir.pipeline.rules import op_key, producer
from pruna_ir.remarks import Reason

BATCH, HEADS, TOKENS, SIZE = "batch", "heads", "tokens", "size"
# Heads that share keys and values, and which of several tensors that lie in one.
_REPEATS, _PICK = "repeats", "pick"
_MOST_STEPS = 16


@dataclass(frozen=True)
class Factor:
    """A part of an axis; `index` is the one picked."""

    name: str
    size: Entry
    index: int = 0


Axes = list[list[Factor]]


@dataclass(frozen=True)
class Heads:
    """An operand of attention: `heads` of `size`, packed in the last axis of `source` from `first` on.

    `swapped`: the tokens come before the batch. `scale` is what it is multiplied by on the way.
    """

    source: gs.Tensor
    heads: int
    size: int
    first: int | None = None
    swapped: bool = False
    scale: float = 1.0

    def packed(self, around: Surroundings, before: gs.Node) -> gs.Tensor:
        """The tensor [batch, tokens, heads * size]; nodes for it are inserted before a node."""
        tensor, width = self.source, self.heads * self.size
        if self.first is not None:
            limits = [around.constant("limit", [at]) for at in (self.first, self.first + width, 2)]
            shape = None if tensor.shape is None else [*tensor.shape[:2], width]
            tensor = around.insert("Slice", [tensor, *limits], shape, before)
        if self.swapped:
            shape = None if tensor.shape is None else [tensor.shape[1], tensor.shape[0], tensor.shape[2]]
            tensor = around.insert("Transpose", [tensor], shape, before, {"perm": [1, 0, 2]})
        return tensor


def find_heads(tensor: gs.Tensor, order: Sequence[str], analysis: ShapeAnalysis) -> Heads | Reason:
    """The heads of an operand whose axes are in the given order, or why they are not found."""
    dims = analysis.dims(tensor)
    if dims is None or len(dims) != len(order):
        return Reason("`{}` does not have the {} dimensions batch, heads, tokens and size", tensor.name, len(order))
    axes: Axes = [[Factor(name, size)] for name, size in zip(order, dims, strict=True)]
    operand, scale = tensor, 1.0
    for _ in range(_MOST_STEPS):
        found = _packed(tensor, axes)
        if found is not None:
            return changed(found, scale=scale)
        node = producer(tensor)
        factor, scaled = _scaling(node)
        if node is None:
            break
        if scaled is not None:
            tensor, scale = scaled, scale * factor
            continue
        step = _before(node, tensor, axes, analysis)
        if step is None:
            break
        tensor, axes = node.inputs[0], _refreshed(step, analysis.dims(node.inputs[0]) or ())
    return Reason("`{}` is not split into heads: `{}` has no axis of heads times size", operand.name, tensor.name)


def _packed(tensor: gs.Tensor, axes: Axes) -> Heads | None:
    """The heads, if a tensor has them in its last axis."""
    if len(axes) != 3:
        return None
    outer = [[factor.name for factor in axis] for axis in axes[:2]]
    pick = next((factor for factor in axes[2] if factor.name == _PICK), None)
    rest = axes[2][1:] if pick is not None else axes[2]
    names = [factor.name for factor in rest]
    if names not in ([HEADS, SIZE], [HEADS, _REPEATS, SIZE]) or sorted(outer) != [[BATCH], [TOKENS]]:
        return None
    sizes = [factor.size for factor in rest]
    heads, size = symbolic.product(sizes[:-1]), sizes[-1]
    if not isinstance(heads, int) or not isinstance(size, int):
        return None
    first = None if pick is None else pick.index * heads * size
    return Heads(tensor, heads, size, first, outer[0] == [TOKENS])


def _scaling(node: gs.Node | None) -> tuple[float, gs.Tensor | None]:
    """What a node multiplies by, and which tensor; none if it does something else."""
    if node is None or op_key(node) not in ("Mul", "Div"):
        return 1.0, None
    left, right = node.inputs
    by_left, by_right = scalar(left), scalar(right)
    if node.op == "Div":
        return (1 / by_right, left) if by_right else (1.0, None)
    return (by_right, left) if by_right is not None else (by_left or 1.0, right if by_left else None)


def _before(node: gs.Node, tensor: gs.Tensor, axes: Axes, analysis: ShapeAnalysis) -> Axes | None:
    """The axes of a node's first input, given those of what it writes."""
    dims = analysis.dims(node.inputs[0])
    if dims is None:
        return None
    if node.op == "Transpose":
        order = permutation(node)
        return None if order is None else [axes[order.index(axis)] for axis in range(len(axes))]
    if node.op in RESHAPES:
        return _regrouped([factor for axis in axes for factor in axis], dims)
    if node.op == "Expand":
        return _before_expand(axes, dims)
    if node.op == "Gather":
        index = scalar(node.inputs[1])
        picks = index is not None and not node.inputs[1].shape
        axis = node.attrs.get("axis", 0) % len(dims)
        return _picked(axes, axis, dims[axis], int(index)) if picks and index is not None else None
    if node.op == "Split" and isinstance(dims[node.attrs.get("axis", 0)], int):
        axis, place = node.attrs.get("axis", 0) % len(dims), next(i for i, t in enumerate(node.outputs) if t is tensor)
        single = dims[axis] == len(node.outputs) and not axes[axis]
        return _picked([*axes[:axis], *axes[axis + 1 :]], axis, dims[axis], place) if single else None
    return None


def _refreshed(axes: Axes, dims: Sequence[Entry]) -> Axes:
    """Factors that are axes of their own with what is known of these: behind a rewritten node that may be less."""
    return [[changed(axis[0], size=dim)] if len(axis) == 1 else axis for axis, dim in zip(axes, dims, strict=True)]


def _picked(axes: Axes, axis: int, size: Entry, index: int) -> Axes | None:
    if not isinstance(size, int) or any(factor.name == _PICK for group in axes for factor in group):
        return None
    return [*axes[:axis], [Factor(_PICK, size, index % size)], *axes[axis:]]


def _before_expand(axes: Axes, dims: Sequence[Entry]) -> Axes | None:
    """Heads of keys and values that several heads of queries share are repeated by an Expand."""
    if len(dims) != len(axes):
        return None
    result: Axes = []
    for axis, dim in zip(axes, dims, strict=True):
        if symbolic.product([factor.size for factor in axis]) == dim:
            result.append(axis)
        elif dim == 1 and [factor.name for factor in axis] == [_REPEATS]:
            result.append([])
        elif dim == 1 and [factor.name for factor in axis] == [HEADS]:
            result.append([Factor(HEADS, 1)])
        else:
            return None
    return result


def _regrouped(factors: list[Factor], dims: Sequence[Entry]) -> Axes | None:
    """The factors, in their order, as axes of the given sizes; None if they do not fit."""
    waiting, result = list(factors), []
    for dim in dims:
        group: list[Factor] = []
        size: Entry = 1
        # An axis of one may be a factor of one, or none.
        while waiting and (size != dim or (dim == 1 and not group and waiting[0].size == 1)):
            split = _split(waiting[0], size, dim)
            if split is not None:
                waiting[:1] = split
            group.append(waiting.pop(0))
            size = symbolic.multiply(size, group[-1].size)
        if size != dim:
            return None
        result.append(group)
    return None if waiting else result


def _split(factor: Factor, size: Entry, dim: Entry) -> list[Factor] | None:
    """Heads as those of keys and values and how often each is repeated, where an axis ends between the two."""
    whole = isinstance(size, int) and isinstance(dim, int) and isinstance(factor.size, int)
    if factor.name != HEADS or not whole or dim % size or factor.size <= dim // size:  # type: ignore[operator]
        return None
    inner = dim // size  # type: ignore[operator]
    if factor.size % inner:  # type: ignore[operator]
        return None
    return [changed(factor, size=inner), Factor(_REPEATS, factor.size // inner)]  # type: ignore[operator]
