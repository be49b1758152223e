"""Mul or Div by a constant, some linear nodes after the weights that can take it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass
from pruna_ir.passes.fusion.layout.permutations import permutation
from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable, rounded
from pruna_ir.passes.fusion.scaled_conv import has_bias, instead_of
from pruna_ir.passes.fusion.static_shapes import RESHAPES, static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason

# A walk stops after this many nodes.
_MOST_NODES = 16
# A scale from 1/_MOST to _MOST moves no value out of the range of float32 that a network keeps to.
_MOST = 2.0**16


@dataclass(frozen=True)
class _Scale:
    """What a tensor of `rank` axes is multiplied by: one value, or [size] values, one per index of `axis`."""

    values: np.ndarray
    axis: int | None
    rank: int

    def along(self, axis: int, rank: int) -> np.ndarray:
        """The values such that they broadcast along an axis of a tensor of `rank` axes, without axes before it."""
        return self.values if self.axis is None else self.values.reshape([-1, *[1] * (rank - axis - 1)])


@dataclass(frozen=True)
class FoldScale(Rule):
    """Fold a product with a scalar, or one value per channel, into weights some linear nodes before it.

        before   Mul(MatMul(Transpose(Reshape(MatMul(x, W))), k), 0.125)     Mul(Transpose(Add(MatMul(x, W), b)), s)
        after    MatMul(Transpose(Reshape(MatMul(x, 0.125 W))), k)           Transpose(Add(MatMul(x, W s), b s))

    Nodes on the way may move values (Reshape, Transpose, Split, ...), add a constant, which is scaled too, or be
    products of two computed matrices, of which a scalar scales one: attention's scores.

    Does not fire if a tensor on the way is an output of the graph or has other users, if no weight is reached, if the
    scale is zero or extreme, if a constant has other users or is no float32 or float64.
    """

    name: ClassVar[str] = "fold-scale"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")

    def match(self, root: gs.Node) -> Match | None:
        for index in (0, 1):
            data, scale = root.inputs[index], root.inputs[1 - index]
            linear = producer(data, *_STEPS) is not None and producer(data, "Conv") is None  # another rule's
            if isinstance(scale, gs.Constant) and linear and not (root.op == "Div" and index == 1):
                return {"root": root, "data": data, "scale": scale}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        root, data = match["root"], match["data"]
        scale = _scale(root, data, match["scale"])
        if isinstance(scale, Reason):
            return scale
        found = _scaled(data, scale, rewriter, _MOST_NODES)
        if isinstance(found, Reason):
            return found
        match["constants"] = []
        for node, index, factor in found:
            stored = _times(node.inputs[index], factor)
            if isinstance(stored, Reason):
                return stored
            match["constants"].append((node, index, stored))
        return cannot_bypass(root.outputs[0], data, rewriter)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        for node, index, values in match["constants"]:
            rewriter.set_input(node, index, instead_of(node.inputs[index], values, rewriter))
        bypass(match["root"], match["data"], rewriter)


def _scale(root: gs.Node, data: gs.Tensor, scale: gs.Constant) -> _Scale | Reason:
    """What the root multiplies by, or why that is no scale of one axis."""
    reason = not_foldable([scale])
    if reason is not None:
        return reason
    values = as_float64(scale)
    if data.shape is None or values.ndim > len(data.shape):
        return Reason("`{}` may add dimensions to `{}`", scale.name, data.name)
    rank = len(data.shape)
    axes = [axis for axis, size in enumerate(values.shape, rank - values.ndim) if size != 1]
    if len(axes) > 1 or any(data.shape[axis] != values.size for axis in axes):
        return Reason("`{}` of shape {} is not one value per index of an axis", scale.name, list(values.shape))
    if ((abs(values) < 1 / _MOST) | (abs(values) > _MOST)).any() or not np.isfinite(values).all():
        return Reason("`{}` is zero or extreme", scale.name)
    flat = values.reshape(-1 if axes else ())
    return _Scale(flat if root.op == "Mul" else 1 / flat, axes[0] if axes else None, rank)


# Nodes with the numbers of the inputs that must be multiplied, and by what.
_Scaled = list[tuple[gs.Node, int, np.ndarray]]


def _scaled(tensor: gs.Tensor, scale: _Scale, rewriter: Rewriter, left: int) -> _Scaled | Reason:
    """The constants to multiply so that a tensor is multiplied, and nothing else changes."""
    reason = rewriter.not_internal(tensor)
    if reason is not None:
        return reason
    node = producer(tensor, *_STEPS)
    if node is None or left == 0:
        return Reason("`{}` is not computed from weights by linear nodes alone", tensor.name)
    if op_key(node) == "Split":
        part = _part(node, tensor, scale)
        return part if isinstance(part, Reason) else _scaled(node.inputs[0], part, rewriter, left - 1)
    return _STEPS[op_key(node)](node, scale, rewriter, left - 1)


def _part(split: gs.Node, tensor: gs.Tensor, scale: _Scale) -> _Scale | Reason:
    """What the input of a Split is multiplied by where one of its outputs is: elsewhere by one."""
    source = split.inputs[0]
    rank = 0 if source.shape is None else len(source.shape)
    axis = split.attrs.get("axis", 0) % max(rank, 1)
    sizes = [part.shape[axis] for part in split.outputs if part.shape is not None]
    known = [size for size in sizes if isinstance(size, int)]
    if not rank or len(known) < len(split.outputs) or sum(known) != source.shape[axis]:
        return Reason("the sizes of the parts of `{}` are not known", source.name)
    if scale.axis not in (None, axis):
        return Reason("`{}` is split along another axis than the one that is scaled", source.name)
    place = next(number for number, part in enumerate(split.outputs) if part is tensor)
    values, start = np.ones(sum(known)), sum(known[:place])
    values[start : start + known[place]] = scale.values
    return _Scale(values, axis, rank)


def _moved(node: gs.Node, scale: _Scale, rewriter: Rewriter, left: int) -> _Scaled | Reason:
    """A node that moves values; where an axis comes from is known of a Transpose, and of a Reshape of the last."""
    before = scale
    if scale.axis is not None:
        order = permutation(node) if node.op == "Transpose" else None
        found = _regrouped(node, scale.axis, scale.values) if node.op in RESHAPES else None
        if order is not None:
            before = _Scale(scale.values, order[scale.axis], scale.rank)
        elif found is not None:
            before = found
        else:
            return Reason("`{}` moves the axis that is scaled", node_name(node))
    return _scaled(node.inputs[0], before, rewriter, left)


def _regrouped(node: gs.Node, axis: int, values: np.ndarray) -> _Scale | None:
    """The scale of the last axis of what a Reshape reads, if that is all that the scaled axis is a part of."""
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if not before or not after or not isinstance(before[-1], int):
        return None
    if static_shape(node.inputs[0]) and static_shape(node.outputs[0]):
        named = [[place for place, size in enumerate(shape) if size != 1] for shape in (before, after)]
        if [before[place] for place in named[0]] == [after[place] for place in named[1]]:  # only axes of size 1 change
            return _Scale(values, named[0][named[1].index(axis)], len(before))
    for start in range(axis + 1):
        tail = after[start:]
        if all(isinstance(size, int) for size in tail) and math.prod(tail) == before[-1]:
            along = values.reshape([-1 if one == axis else 1 for one in range(start, len(after))])
            return _Scale(np.broadcast_to(along, tail).reshape(-1), len(before) - 1, len(before))
    return None


def _sum(node: gs.Node, scale: _Scale, rewriter: Rewriter, left: int) -> _Scaled | Reason:
    """Add or Sub of a constant."""
    for index in (0, 1):
        data, constant = node.inputs[index], node.inputs[1 - index]
        if isinstance(constant, gs.Constant) and not is_parameter(data):
            same = data.shape is not None and data.shape == node.outputs[0].shape
            rest = _scaled(data, scale, rewriter, left) if same else Reason("`{}` is broadcast", data.name)
            return rest if isinstance(rest, Reason) else [*rest, (node, 1 - index, _beside(scale))]
    return Reason("`{}` adds two tensors that are computed", node.outputs[0].name)


def _beside(scale: _Scale) -> np.ndarray:
    """The scale as it broadcasts with the tensor itself, and so with a constant beside it."""
    return scale.values if scale.axis is None else scale.along(scale.axis, scale.rank)


def _product(node: gs.Node, scale: _Scale, rewriter: Rewriter, left: int) -> _Scaled | Reason:
    """Mul by a constant, or MatMul: a constant operand is scaled at once, else either may be."""
    for index in (1, 0):
        if isinstance(node.inputs[index], gs.Constant) and node.op == "Mul":
            return [(node, index, _beside(scale))]
        last = scale.axis is None or (index == 1 and scale.axis == scale.rank - 1)
        if isinstance(node.inputs[index], gs.Constant) and last and len(node.inputs[index].shape) > 1:
            return [(node, index, scale.values)]
    if scale.axis is not None:
        return Reason("`{}` is no weight of the axis that is scaled", node.inputs[1].name)
    first = _scaled(node.inputs[0], scale, rewriter, left)
    return first if not isinstance(first, Reason) else _scaled(node.inputs[1], scale, rewriter, left)


def _weighted(node: gs.Node, scale: _Scale, _: Rewriter, __: int) -> _Scaled | Reason:
    """Gemm or Conv: weight and bias."""
    if scale.axis not in (None, 1):
        return Reason("`{}` has no weight of the axis that is scaled", node_name(node))
    rows = node.op == "Conv" or node.attrs.get("transB", 0)
    weight = scale.along(0 if rows else 1, len(node.inputs[1].shape))
    return [(node, 1, weight), *([(node, 2, scale.values)] if has_bias(node) else [])]


def _times(constant: gs.Tensor, factor: np.ndarray) -> np.ndarray | Reason:
    """A constant times the scale, in its own type."""
    reason = not_foldable([constant])
    if reason is not None:
        return reason
    if np.dtype(constant.dtype).itemsize < 4:
        return Reason("`{}` is {}, where a product loses precision", constant.name, np.dtype(constant.dtype).name)
    if len(constant.outputs) > 1:
        return Reason("`{}` has {} users", constant.name, len(constant.outputs))
    return rounded(np.asarray(as_float64(constant) * factor), constant.dtype, "weight")


_Step = Callable[[gs.Node, _Scale, Rewriter, int], "_Scaled | Reason"]

_STEPS: dict[str, _Step] = {
    **dict.fromkeys((*RESHAPES, "Transpose", "Expand", "Slice", "Split"), _moved),
    **dict.fromkeys(("Add", "Sub"), _sum),
    **dict.fromkeys(("MatMul", "Mul"), _product),
    **dict.fromkeys(("Gemm", "Conv"), _weighted),
}
