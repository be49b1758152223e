"""Dimensions of what operators give that compute something new: a function for each."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.inputs import Dims, Inputs, broadcast, data
from pruna_ir.passes.simplify.shapes.symbolic import Entry, Expr
from pruna_ir.passes.simplify.shapes.values import known


def matmul(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What MatMul gives."""
    first, second = inputs.dims
    if first is None or second is None or min(len(first), len(second)) < 2:
        return None
    before = broadcast([first[:-2], second[:-2]])
    return None if before is None else [*before, first[-2], second[-1]]


def gemm(node: gs.Node, inputs: Inputs) -> Dims:
    """What Gemm gives."""
    first, second = inputs.dims[0], inputs.dims[1]
    assert first is not None and second is not None
    return [first[1 if node.attrs.get("transA", 0) else 0], second[0 if node.attrs.get("transB", 0) else 1]]


def convolution(node: gs.Node, inputs: Inputs) -> Dims:
    """What Conv gives."""
    weight = inputs.dims[1]
    assert weight is not None
    return [data(inputs)[0], weight[0], *_windows(node, data(inputs)[2:], weight[2:])]


def pooling(node: gs.Node, inputs: Inputs) -> Dims:
    """What pooling gives."""
    return [*data(inputs)[:2], *_windows(node, data(inputs)[2:], node.attrs["kernel_shape"])]


def _windows(node: gs.Node, dims: Dims, kernel: Sequence[Entry | None]) -> Dims:
    """How many windows a convolution or a pooling has along each axis."""
    unsure = node.attrs.get("ceil_mode", 0) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    rank = len(dims)
    strides, dilations = node.attrs.get("strides", [1] * rank), node.attrs.get("dilations", [1] * rank)
    pads = (
        node.attrs.get("pads", [0] * 2 * rank) if node.attrs.get("auto_pad", "NOTSET") == "NOTSET" else [0] * 2 * rank
    )
    counts: Dims = []
    for axis, (dim, window) in enumerate(zip(dims, kernel, strict=True)):
        if unsure or dim is None or not isinstance(window, int):
            counts.append(None)
            continue
        spare = pads[axis] + pads[axis + rank] - dilations[axis] * (window - 1) - 1
        counts.append(symbolic.add(_over(symbolic.add(dim, spare), strides[axis]), 1))
    return counts


def _over(dim: Entry, stride: int) -> Entry:
    """Steps of a stride; where the dimension is not known it is taken to be large enough for a window."""
    exact = symbolic.divide_exactly(dim, stride)
    return exact if exact is not None else symbolic.operation("Div", dim, stride, nonnegative=True)


def global_pooling(_: gs.Node, inputs: Inputs) -> Dims:
    """What global pooling gives."""
    return [*data(inputs)[:2], *[1] * (len(data(inputs)) - 2)]


def reduction(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What reductions gives."""
    dims, axes = data(inputs), node.attrs.get("axes") or inputs.numbers(1)
    if not axes:
        if inputs.has(1) or node.attrs.get("noop_with_empty_axes", 0):
            return None
        axes = range(len(dims))
    return _reduced(dims, {axis % len(dims) for axis in axes}, node)


def arg_reduction(node: gs.Node, inputs: Inputs) -> Dims:
    """What ArgMax and ArgMin gives."""
    dims = data(inputs)
    return _reduced(dims, {node.attrs.get("axis", 0) % len(dims)}, node)


def _reduced(dims: Dims, gone: set[int], node: gs.Node) -> Dims:
    keep = node.attrs.get("keepdims", 1)
    return [1 if axis in gone else dim for axis, dim in enumerate(dims) if keep or axis not in gone]


def resize(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What Resize gives."""
    crops = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops or node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch" or "axes" in node.attrs:
        return None
    if inputs.has(3):
        sizes = inputs.elements(3)
        return None if sizes is None else list(sizes)
    scales = inputs.elements(2)
    return None if scales is None else [_scaled(dim, by) for dim, by in zip(data(inputs), scales, strict=True)]


def _scaled(dim: Entry | None, scale: Entry) -> Entry | None:
    """A dimension times a scale, if that is a whole number."""
    if dim is None or isinstance(scale, Expr) or not float(scale).is_integer():
        return None
    return symbolic.multiply(dim, int(scale))


def constant_of_shape(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What ConstantOfShape gives."""
    shape = inputs.elements(0)
    return None if shape is None else list(shape)


def range_(_: gs.Node, inputs: Inputs) -> Dims | None:
    """What Range gives."""
    start, limit, delta = (inputs.elements(index) for index in range(3))
    if start is None or limit is None or known(delta) != [1]:
        return None
    length = symbolic.subtract(limit.item(), start.item())
    return [length] if symbolic.lowest(length) >= 0 else None


def recurrent(node: gs.Node, inputs: Inputs) -> Dims | None:
    """What LSTM and its kin gives."""
    if node.attrs.get("layout", 0):
        return None
    dims, weight = data(inputs), inputs.dims[1]
    return None if weight is None else [dims[0], weight[0], dims[1], node.attrs["hidden_size"]]
