"""What channels pass through: operators that give a scaled output for a scaled input, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.no_operations import values
from pruna_ir.passes.fusion.static_shapes import covers
from pruna_ir.passes.quantization.equalization.links import UNSCALED, Labels, Parameter
from pruna_ir.pipeline.rules import op_key
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class Onward:
    """Where channels go on: the outputs with their labels, and the constants in between that must be divided."""

    outputs: list[tuple[gs.Tensor, Labels]]
    parameters: tuple[Parameter, ...] = ()


def passed(node: gs.Node, index: int, labels: Labels) -> Onward | Reason | None:
    """How channels pass through `node`, read as its input number `index`; None if they do not."""
    function = _TABLE.get(op_key(node))
    return None if function is None else function(node, index, labels)


def _on(node: gs.Node, labels: Labels) -> Onward:
    return Onward([(node.outputs[0], labels)])


def _first(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """Functions of single values with f(s x) = s f(x) for s > 0; further inputs are slopes."""
    return _on(node, labels) if index == 0 else None


def _pool(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """Sums and maxima over space: the channels must lie on axis 1 alone."""
    return _on(node, labels) if labels.size == labels.shape[1] else None


def _product(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """A product with something that the channels do not reach (they cannot be counted twice: the walk sees to that)."""
    other = node.inputs[1 - index]
    if (node.op == "Div" and index == 1) or other is node.inputs[index] or other.shape is None:
        return None
    rank = len(node.outputs[0].shape or ())
    return _on(node, _align(labels, rank)) if rank >= max(labels.ndim, len(other.shape)) else None


def _sum(node: gs.Node, index: int, labels: Labels) -> Onward | Reason | None:
    """Adding a constant, which is scaled as well."""
    other = node.inputs[1 - index]
    if not isinstance(other, gs.Constant):
        return Reason("`{}` adds `{}`, which has its own scales", node.outputs[0].name, other.name)
    if not covers(node.inputs[index], other.shape):
        return Reason("`{}` may be larger than `{}`", other.name, node.inputs[index].name)
    return Onward([(node.outputs[0], labels)], (Parameter(node, 1 - index, _trim(labels, other), divides=True),))


def _trim(labels: Labels, constant: gs.Constant) -> Labels:
    """Labels for a constant that is added: without leading axes of size 1 that it need not have."""
    lead = 0
    while labels.ndim - lead > max(len(constant.shape), 1) and labels.shape[lead] == 1:
        lead += 1
    return labels.reshape(labels.shape[lead:])


def _matmul(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """A product of two computed matrices: the channels must not lie on the axis that is summed over."""
    rank = len(node.outputs[0].shape or ())
    summed = labels.ndim - (1 if index == 0 else 2)
    if labels.ndim < 2 or rank < labels.ndim or labels.shape[summed] != 1:
        return None
    return _on(node, _align(labels, rank))


def _align(labels: Labels, rank: int) -> Labels:
    return labels.reshape((1,) * (rank - labels.ndim) + labels.shape)


def _transpose(node: gs.Node, index: int, labels: Labels) -> Onward:
    return _on(node, labels.transpose(node.attrs.get("perm", range(labels.ndim)[::-1])))


def _reshape(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """The sizes from the first axis of channels to the end must be known, and be the last ones of the result too."""
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if index != 0 or before is None or after is None or len(before) != labels.ndim:
        return None
    start = next((axis for axis, size in enumerate(labels.shape) if size > 1), labels.ndim)
    if not all(isinstance(size, int) for size in before[start:]):
        return None
    size = math.prod(before[start:])
    for place in range(len(after), -1, -1):
        tail = after[place:]
        if not all(isinstance(one, int) for one in tail):
            return None
        if math.prod(tail) == size:
            moved = np.broadcast_to(labels, (1,) * start + tuple(before[start:])).reshape((1,) * place + tuple(tail))
            return _on(node, _compact(moved))
    return None


def _compact(labels: Labels) -> Labels:
    """Labels with size 1 along every axis that makes no difference."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if (labels == first).all():
            labels = first
    return labels


def _split(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    axis = node.attrs.get("axis", 0)
    if index != 0 or labels.shape[axis] == 1:
        return Onward([(output, labels) for output in node.outputs]) if index == 0 else None
    sizes = [output.shape[axis] for output in node.outputs if output.shape is not None]
    if len(sizes) < len(node.outputs) or not all(isinstance(size, int) for size in sizes):
        return None
    parts = np.split(labels, np.cumsum(sizes)[:-1].tolist(), axis)
    return Onward([(output, part) for output, part in zip(node.outputs, parts, strict=True)])


def _concat(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """What is joined with the channels keeps its values."""
    axis = node.attrs["axis"] % labels.ndim
    sizes = [None if tensor.shape is None else tensor.shape[axis] for tensor in node.inputs]
    if not all(isinstance(size, int) for size in sizes):
        return None
    shapes = [(*labels.shape[:axis], size, *labels.shape[axis + 1 :]) for size in sizes]
    parts = [np.full(shape, UNSCALED) for shape in shapes]
    parts[index] = np.broadcast_to(labels, shapes[index])
    return _on(node, np.concatenate(parts, axis))


def _reduce(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    axes = node.attrs.get("axes", values(node, 1))
    if index != 0 or axes is None:
        return None
    gone = {int(axis) % labels.ndim for axis in axes}
    if not gone or any(labels.shape[axis] != 1 for axis in gone):
        return None
    if node.attrs.get("keepdims", 1):
        return _on(node, labels)
    return _on(node, labels.reshape([size for axis, size in enumerate(labels.shape) if axis not in gone]))


def _resize(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    """Each value is a weighted sum of its neighbours: fine as long as the axes of the channels stay."""
    before, after = node.inputs[0].shape, node.outputs[0].shape
    cropped = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if index != 0 or cropped or before is None or after is None:
        return None
    axes = [axis for axis, size in enumerate(labels.shape) if size > 1]
    return _on(node, labels) if all(before[axis] == after[axis] for axis in axes) else None


def _pad(node: gs.Node, index: int, labels: Labels) -> Onward | None:
    pads, value = values(node, 1), values(node, 2)
    computed = len(node.inputs) > 2 and not node.inputs[2].is_empty() and value is None
    if index != 0 or pads is None or computed or len(pads) != 2 * labels.ndim:
        return None
    if node.attrs.get("mode", "constant") == "constant" and value is not None and value.any():
        return None
    axes = [axis for axis, size in enumerate(labels.shape) if size > 1]
    return None if any(pads[axis] or pads[axis + labels.ndim] for axis in axes) else _on(node, labels)


def _shape(node: gs.Node, index: int, labels: Labels) -> Onward:
    return Onward([])


def _clip(node: gs.Node, index: int, labels: Labels) -> Onward | Reason | None:
    """Bounds of zero and infinity do not move with a scale; any other one does, and is one number for all channels."""
    if index != 0:
        return None
    for place, tensor in enumerate(node.inputs[1:3], start=1):
        bound = values(node, place)
        if not tensor.is_empty() and (bound is None or (np.isfinite(bound) & (bound != 0)).any()):
            return Reason("`{}` has one bound for all channels", node.outputs[0].name)
    return _on(node, labels)


_TABLE: Mapping[str, Callable[[gs.Node, int, Labels], Onward | Reason | None]] = {
    **dict.fromkeys(("Abs", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu"), _first),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pool),
    **dict.fromkeys(("Mul", "Div"), _product),
    **dict.fromkeys(("Add", "Sub"), _sum),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Clip": _clip,
    "Concat": _concat,
    "MatMul": _matmul,
    "Pad": _pad,
    "Resize": _resize,
    "Shape": _shape,
    "Split": _split,
    "Transpose": _transpose,
}
