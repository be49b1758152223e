"""When a node does nothing: a table from operator to the question whether its output is one of its inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.static_shapes import covers, reshapes_to_itself, static_shape

# From this number on, the end of a Slice means the end of the axis.
_FAR = 2**31 - 1


def values(node: gs.Node, index: int) -> np.ndarray | None:
    """The values of a constant input; None if it is omitted or computed."""
    tensor = node.inputs[index] if index < len(node.inputs) else None
    return np.asarray(tensor.values) if isinstance(tensor, gs.Constant) else None


def omitted(node: gs.Node, index: int) -> bool:
    """Whether an optional input is left out."""
    return index >= len(node.inputs) or node.inputs[index].is_empty()


def unchanged(node: gs.Node) -> gs.Tensor | None:
    """The input that the node's output equals, or None if the node does something (or may)."""
    indices = _INDICES.get(node.op, (0,)) if node.op != "Concat" else range(len(node.inputs))
    question = _TABLE[node.op]
    return next((node.inputs[index] for index in indices if index < len(node.inputs) and question(node, index)), None)


def _neutral(value: Any) -> Callable[[gs.Node, int], bool]:
    """Whether the other operand is `value` everywhere, and too small to broadcast the input."""

    def question(node: gs.Node, index: int) -> bool:
        other = node.inputs[1 - index]
        if not isinstance(other, gs.Constant) or not covers(node.inputs[index], other.shape):
            return False
        return bool((np.asarray(other.values) == value).all())

    return question


def _same_type(node: gs.Node, _: int) -> bool:
    before, after = node.inputs[0].dtype, node.outputs[0].dtype
    return before is not None and type(before) is type(after) and bool(before == after)


def _identity_order(node: gs.Node, _: int) -> bool:
    """Whether a Transpose moves axes of size one only, none of which ends up elsewhere."""
    shape = node.inputs[0].shape
    order = node.attrs.get("perm", None if shape is None else range(len(shape) - 1, -1, -1))
    if order is None:
        return False
    if list(order) == sorted(order):
        return True
    sizes = static_shape(node.inputs[0])
    if sizes is None or [sizes[axis] for axis in order] != list(sizes):
        return False
    moved = [axis for axis in order if sizes[axis] != 1]
    return moved == sorted(moved)


def _same_shape(node: gs.Node, _: int) -> bool:
    return reshapes_to_itself(node)


def _expands_nothing(node: gs.Node, _: int) -> bool:
    target = values(node, 1)
    if target is not None and covers(node.inputs[0], tuple(int(size) for size in target)):
        return True
    sizes = static_shape(node.inputs[0])
    return sizes is not None and sizes == static_shape(node.outputs[0])


def _all(index: int, value: int) -> Callable[[gs.Node, int], bool]:
    """Whether an input is a constant and `value` everywhere."""

    def question(node: gs.Node, _: int) -> bool:
        given = values(node, index)
        return given is not None and bool((given == value).all())

    return question


def _slices_nothing(node: gs.Node, _: int) -> bool:
    starts, ends, steps = values(node, 1), values(node, 2), values(node, 4)
    if starts is None or ends is None or not (omitted(node, 4) or (steps is not None and (steps == 1).all())):
        return False
    if (starts == 0).all() and (ends >= _FAR).all():
        return True
    sizes, axes = static_shape(node.inputs[0]), values(node, 3)
    if sizes is None or not (omitted(node, 3) or axes is not None):
        return False
    chosen = range(len(starts)) if axes is None else axes
    cuts = zip(starts, ends, (sizes[axis] for axis in chosen), strict=True)
    return all(range(size)[int(start) : int(end)] == range(size) for start, end, size in cuts)


def _gathers_everything(node: gs.Node, _: int) -> bool:
    indices, sizes = values(node, 1), static_shape(node.inputs[0])
    if indices is None or sizes is None or indices.ndim != 1:
        return False
    return np.array_equal(indices, np.arange(sizes[node.attrs.get("axis", 0)]))


def _resizes_nothing(node: gs.Node, _: int) -> bool:
    """Whether all scales are one; a crop is another matter."""
    if node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    scales = values(node, 2)
    if scales is not None and scales.size:
        return bool((scales == 1).all())
    given, sizes = values(node, 3), static_shape(node.inputs[0])
    if given is None or sizes is None:
        return False
    axes = node.attrs.get("axes", range(len(sizes)))
    return [int(size) for size in given] == [sizes[axis] for axis in axes]


def _clips_nothing(node: gs.Node, _: int) -> bool:
    """Whether the limits of a Clip are those of its type; omitted ones are the largest finite numbers, by ONNX."""
    dtype = node.inputs[0].dtype
    if dtype is None or isinstance(dtype, int):
        return False
    kind = np.dtype(dtype)
    lowest, highest = (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    if kind.kind == "f" and (omitted(node, 1) or omitted(node, 2)):
        return False
    low, high = values(node, 1), values(node, 2)
    return all(
        omitted(node, index) or (limit is not None and bool((limit == end).all()))
        for index, limit, end in ((1, low, lowest), (2, high, highest))
    )


def _alone(node: gs.Node, _: int) -> bool:
    return len(node.inputs) == 1


def _joins_nothing(node: gs.Node, index: int) -> bool:
    """Whether all other inputs of a Concat are empty."""
    others = [tensor.shape for place, tensor in enumerate(node.inputs) if place != index]
    return all(shape is not None and shape[node.attrs["axis"]] == 0 for shape in others)


def _same_twice(node: gs.Node, _: int) -> bool:
    """Whether all inputs are one tensor."""
    return all(tensor is node.inputs[0] for tensor in node.inputs)


def _chooses_always(node: gs.Node, index: int) -> bool:
    """Whether a Where takes all elements from one input, which the others do not broadcast."""
    condition, chosen = values(node, 0), node.inputs[index]
    shapes = [static_shape(tensor) for tensor in (node.inputs[0], node.inputs[3 - index]) if tensor is not chosen]
    if not all(shape is not None and covers(chosen, shape) for shape in shapes):
        return False
    return len(shapes) == 1 or (condition is not None and bool((condition == (index == 1)).all()))


def _reduces_nothing(node: gs.Node, _: int) -> bool:
    """Whether a reduction keeps its axes and runs over some of size one, where a sum is what it sums, or over none."""
    axes, shape = node.attrs.get("axes") if omitted(node, 1) else values(node, 1), node.inputs[0].shape
    if axes is None or len(axes) == 0:
        return bool(node.attrs.get("noop_with_empty_axes", 0)) and (omitted(node, 1) or axes is not None)
    return bool(node.attrs.get("keepdims", 1)) and shape is not None and all(shape[int(axis)] == 1 for axis in axes)


def _pools_single_positions(node: gs.Node, _: int) -> bool:
    shape = node.inputs[0].shape
    return shape is not None and all(size == 1 for size in shape[2:])


def _contracts_nothing(node: gs.Node, _: int) -> bool:
    """Whether an Einsum of one operand names its axes, and gives them in that order."""
    before, _arrow, after = node.attrs["equation"].replace(" ", "").partition("->")
    axes = before.replace(".", "")
    return len(node.inputs) == 1 and before == after and len(set(axes)) == len(axes)


def _attribute(name: str, value: float) -> Callable[[gs.Node, int], bool]:
    def question(node: gs.Node, _: int) -> bool:
        return bool(node.attrs.get(name) == value)

    return question


def _splits_nothing(node: gs.Node, _: int) -> bool:
    return len(node.outputs) == 1


def _pools_single_values(node: gs.Node, _: int) -> bool:
    windows = itertools.chain(node.attrs["kernel_shape"], node.attrs.get("strides", ()))
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return all(size == 1 for size in windows) and not padded


_TABLE: Mapping[str, Callable[[gs.Node, int], bool]] = {
    "Add": _neutral(0),
    "And": _neutral(True),
    "AveragePool": _pools_single_values,
    "BitShift": _neutral(0),
    "BitwiseOr": _neutral(0),
    "BitwiseXor": _neutral(0),
    "Cast": _same_type,
    "CastLike": _same_type,
    "Clip": _clips_nothing,
    "Concat": _joins_nothing,
    "DepthToSpace": _attribute("blocksize", 1),
    "Div": _neutral(1),
    "Einsum": _contracts_nothing,
    "Expand": _expands_nothing,
    "Flatten": _same_shape,
    "Gather": _gathers_everything,
    "GlobalAveragePool": _pools_single_positions,
    "LeakyRelu": _attribute("alpha", 1),
    "Max": _same_twice,
    "Mean": _alone,
    "Min": _same_twice,
    "Mul": _neutral(1),
    "Or": _neutral(False),
    "Pad": _all(1, 0),
    "PRelu": _neutral(1),
    "Pow": _neutral(1),
    "ReduceMax": _reduces_nothing,
    "ReduceMean": _reduces_nothing,
    "ReduceMin": _reduces_nothing,
    "ReduceProd": _reduces_nothing,
    "ReduceSum": _reduces_nothing,
    "Reshape": _same_shape,
    "Resize": _resizes_nothing,
    "Slice": _slices_nothing,
    "SpaceToDepth": _attribute("blocksize", 1),
    "Split": _splits_nothing,
    "Squeeze": _same_shape,
    "Sub": _neutral(0),
    "Sum": _alone,
    "Tile": _all(1, 1),
    "Transpose": _identity_order,
    "Unsqueeze": _same_shape,
    "Where": _chooses_always,
    "Xor": _neutral(False),
}
OPERATORS = tuple(_TABLE)

# Operators of which another input than the first may be the one that is handed on.
_INDICES: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("Add", "And", "BitwiseOr", "BitwiseXor", "Mul", "Or", "Xor"), (0, 1)),
    "Where": (1, 2),
}
