"""What is certain about shapes: sizes that are numbers, and axes that a node hands on whatever their size is.

Equal names of symbolic dimensions prove nothing here: some exporters give every unknown dimension the same name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rules import op_key
from pruna_ir.remarks import Reason

# Nodes that change the shape of a tensor but neither its values nor their order.
RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")

# A dimension of a result: its size, the axis of the source that it equals, or what is left of the elements.
Dim = int | tuple[str, int]
_REST: Dim = ("rest", -1)


def static_shape(tensor: gs.Tensor) -> tuple[int, ...] | None:
    """The shape of a tensor if it is known and all of it is numbers."""
    if tensor.shape is None or not all(isinstance(size, int) for size in tensor.shape):
        return None
    return tuple(tensor.shape)


def covers(tensor: gs.Tensor, shape: Sequence[int]) -> bool:
    """Whether broadcasting a tensor with something of `shape` is sure to leave the tensor's shape as it is."""
    if not shape:
        return True
    if tensor.shape is None or len(shape) > len(tensor.shape):
        return False
    own = tensor.shape[len(tensor.shape) - len(shape) :]
    return all(size in (1, mine) for size, mine in zip(shape, own, strict=True))


def reshapes_to_itself(node: gs.Node) -> bool:
    """Whether a node of `RESHAPES` is sure to leave the shape as it is."""
    return leaves_shape(node.inputs[0], [node])


def leaves_shape(source: gs.Tensor, nodes: Sequence[gs.Node]) -> bool:
    """Whether a chain of `RESHAPES` that starts at `source` is sure to end in its shape."""
    dims = dimensions(source)
    return dims is not None and gives_shape(source, nodes, dims)


def gives_shape(source: gs.Tensor, nodes: Sequence[gs.Node], wanted: Sequence[Dim]) -> bool:
    """Whether a chain of `RESHAPES` that starts at `source` is sure to end in a shape of as many elements.

    If all axes but one have the size that is wanted, and none is zero, then that one has it as well.
    """
    output, dims = nodes[-1].outputs[0], _after(source, nodes)
    if dims is None:  # a shape that is computed: go by the output
        known = [] if output.shape is None else output.shape
        dims = [size if isinstance(size, int) else _REST for size in known]
    if len(dims) != len(wanted):
        return False
    changed = [dim for dim, other in zip(dims, wanted, strict=True) if dim != other]
    return not changed or (changed == [_REST] and 0 not in wanted)


def dimensions(tensor: gs.Tensor) -> list[Dim] | None:
    """The dimensions of a tensor; None if their number is not known."""
    if tensor.shape is None:
        return None
    return [size if isinstance(size, int) else ("axis", axis) for axis, size in enumerate(tensor.shape)]


def joint_target(source: gs.Tensor, nodes: Sequence[gs.Node]) -> list[int] | Reason:
    """The shape that one Reshape of `source` needs to do what the chain of `RESHAPES` does, or why there is none."""
    output = nodes[-1].outputs[0]
    if output.shape is not None and 0 in output.shape:
        return Reason("`{}` is empty", output.name)
    dims: Sequence[Dim] | None = _after(source, nodes)
    if dims is None:
        if output.shape is None:
            return Reason("the shape of `{}` is not known", output.name)
        dims = [_REST] * len(output.shape)
    if output.shape is not None and len(output.shape) == len(dims):
        dims = [size if isinstance(size, int) else dim for dim, size in zip(dims, output.shape, strict=True)]
    target = [dim if isinstance(dim, int) else 0 if dim == ("axis", axis) else -1 for axis, dim in enumerate(dims)]
    if target.count(-1) > 1:
        return Reason("{} dimensions of `{}` are not known", target.count(-1), output.name)
    return target


def _after(source: gs.Tensor, nodes: Sequence[gs.Node]) -> list[Dim] | None:
    """The dimensions that a chain of nodes gives `source`, None if they cannot be told."""
    dims = dimensions(source)
    for node in nodes:
        if dims is None or 0 in dims or op_key(node) not in RESHAPES:
            return None
        dims = _STEPS[node.op](node, dims)
    return dims


def _reshape(node: gs.Node, dims: list[Dim]) -> list[Dim] | None:
    target = _constant(node, 1)
    if target is None or (node.attrs.get("allowzero", 0) and 0 in target):
        return None
    if any(size == 0 and axis >= len(dims) for axis, size in enumerate(target)):
        return None
    return [dims[axis] if size == 0 else _REST if size == -1 else size for axis, size in enumerate(target)]


def _flatten(node: gs.Node, dims: list[Dim]) -> list[Dim] | None:
    axis = node.attrs.get("axis", 1)
    axis += len(dims) if axis < 0 else 0
    return [_product(dims[:axis]), _product(dims[axis:])]


def _squeeze(node: gs.Node, dims: list[Dim]) -> list[Dim] | None:
    axes = _constant(node, 1)
    if axes is None:
        named = len(node.inputs) > 1 and not node.inputs[1].is_empty()
        if named or not all(isinstance(dim, int) for dim in dims):
            return None
        return [dim for dim in dims if dim != 1]
    gone = {axis % len(dims) for axis in axes}
    return [dim for axis, dim in enumerate(dims) if axis not in gone]


def _unsqueeze(node: gs.Node, dims: list[Dim]) -> list[Dim] | None:
    axes = _constant(node, 1)
    if axes is None:
        return None
    rank = len(dims) + len(axes)
    new, old = {axis % rank for axis in axes}, iter(dims)
    return [1 if axis in new else next(old) for axis in range(rank)]


_STEPS = {"Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze}


def _product(dims: Sequence[Dim]) -> Dim:
    """The size of several dimensions in one."""
    known = [dim for dim in dims if isinstance(dim, int)]
    if len(known) == len(dims):
        return math.prod(known)
    return next(dim for dim in dims if dim != 1) if len(dims) - known.count(1) == 1 else _REST


def _constant(node: gs.Node, index: int) -> list[int] | None:
    tensor = node.inputs[index] if index < len(node.inputs) else None
    return np.asarray(tensor.values).reshape(-1).tolist() if isinstance(tensor, gs.Constant) else None
