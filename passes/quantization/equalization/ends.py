"""The two ends of a link: the constants of the node that writes channels, and of those that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.convolution import group
from pruna_ir.passes.quantization.equalization.links import Labels, Parameter, Reader
from pruna_ir.pipeline.rules import op_key
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class Start:
    """How a node writes channels: how many, the labels of its output, and the constants to divide."""

    channels: int
    labels: Labels
    parameters: tuple[Parameter, ...]


def written(node: gs.Node) -> Start | Reason | None:
    """How `node` writes channels; None for an operator that is not in the table."""
    function = _WRITERS.get(op_key(node))
    return None if function is None else function(node)


def read(node: gs.Node, index: int, labels: Labels) -> Reader | Reason | None:
    """How `node` reads channels as its input number `index`; None where it does not multiply them by weights."""
    function = _READERS.get(op_key(node))
    return None if function is None else function(node, index, labels)


def _weight(node: gs.Node) -> tuple[int, ...] | None:
    """The shape of the constant weight, which is the second input."""
    tensor = node.inputs[1]
    return tuple(tensor.shape) if isinstance(tensor, gs.Constant) else None


def _not_constant(node: gs.Node) -> Reason:
    return Reason("`{}` is not a constant", node.inputs[1].name)


def _more(node: gs.Node, labels: Labels) -> tuple[Parameter, ...]:
    """The third input, a bias with one value per channel, if there is one."""
    there = len(node.inputs) > 2 and not node.inputs[2].is_empty()
    return (Parameter(node, 2, labels, divides=True),) if there else ()


def _write_conv(node: gs.Node) -> Start | Reason:
    shape = _weight(node)
    if shape is None:
        return _not_constant(node)
    numbers, spatial = np.arange(shape[0]), len(shape) - 2
    weight = Parameter(node, 1, numbers.reshape(-1, *(1,) * (spatial + 1)), divides=True)
    return Start(shape[0], _on_axis_1(numbers, spatial), (weight, *_more(node, numbers)))


def _write_conv_transpose(node: gs.Node) -> Start | Reason:
    shape = _weight(node)
    if shape is None:
        return _not_constant(node)
    groups, spatial = group(node), len(shape) - 2
    channels = shape[1] * groups
    numbers = np.arange(channels)
    labels = np.repeat(numbers.reshape(groups, -1), shape[0] // groups, axis=0).reshape(shape[0], -1, *(1,) * spatial)
    weight = Parameter(node, 1, labels, divides=True)
    return Start(channels, _on_axis_1(numbers, spatial), (weight, *_more(node, numbers)))


def _write_gemm(node: gs.Node) -> Start | Reason:
    shape = _weight(node)
    if shape is None:
        return _not_constant(node)
    transposed = bool(node.attrs.get("transB", 0))
    numbers = np.arange(shape[0 if transposed else 1])
    weight = Parameter(node, 1, numbers[:, None] if transposed else numbers[None], divides=True)
    return Start(len(numbers), numbers[None], (weight, *_more(node, numbers)))


def _write_matmul(node: gs.Node) -> Start | Reason:
    shape, rank = _weight(node), len(node.outputs[0].shape or ())
    if shape is None:
        return _not_constant(node)
    if len(shape) != 2 or rank < 2:
        return Reason("`{}` is not a matrix that vectors are multiplied by", node.inputs[1].name)
    numbers = np.arange(shape[1])
    weight = Parameter(node, 1, numbers[None], divides=True)
    return Start(len(numbers), numbers.reshape((1,) * (rank - 1) + (-1,)), (weight,))


def _write_norm_over_last_axis(node: gs.Node) -> Start | Reason:
    shape, rank = _weight(node), len(node.outputs[0].shape or ())
    if shape is None:
        return _not_constant(node)
    if node.attrs.get("axis", -1) not in (-1, rank - 1) or len(shape) != 1:
        return Reason("`{}` is normalized over more than the last axis", node.inputs[0].name)
    numbers = np.arange(shape[0])
    scale = Parameter(node, 1, numbers, divides=True)
    return Start(len(numbers), numbers.reshape((1,) * (rank - 1) + (-1,)), (scale, *_more(node, numbers)))


def _write_norm_per_channel(node: gs.Node) -> Start | Reason:
    shape, rank = _weight(node), len(node.outputs[0].shape or ())
    if shape is None:
        return _not_constant(node)
    if rank < 2 or node.outputs[0].shape[1] != shape[0]:
        return Reason("`{}` is not one value per channel", node.inputs[1].name)
    numbers = np.arange(shape[0])
    scale = Parameter(node, 1, numbers, divides=True)
    return Start(len(numbers), _on_axis_1(numbers, rank - 2), (scale, *_more(node, numbers)))


_WRITERS: Mapping[str, Callable[[gs.Node], Start | Reason]] = {
    "Conv": _write_conv,
    "ConvTranspose": _write_conv_transpose,
    "Gemm": _write_gemm,
    "MatMul": _write_matmul,
    "LayerNormalization": _write_norm_over_last_axis,
    "RMSNormalization": _write_norm_over_last_axis,
    "InstanceNormalization": _write_norm_per_channel,
    "GroupNormalization": _write_norm_per_channel,
}


def _read_conv(node: gs.Node, index: int, labels: Labels) -> Reader | Reason | None:
    shape = _weight(node)
    if index != 0:
        return None
    if shape is None:
        return _not_constant(node)
    if labels.size != labels.shape[1]:
        return _off_axis(node)
    numbers = np.broadcast_to(labels.reshape(-1), (shape[1] * group(node),)).reshape(group(node), -1)
    numbers = np.repeat(numbers, shape[0] // group(node), axis=0).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    return Reader(Parameter(node, 1, numbers, divides=False), node.inputs[0], labels)


def _read_conv_transpose(node: gs.Node, index: int, labels: Labels) -> Reader | Reason | None:
    shape = _weight(node)
    if index != 0:
        return None
    if shape is None:
        return _not_constant(node)
    if labels.size != labels.shape[1]:
        return _off_axis(node)
    numbers = labels.reshape(-1, *(1,) * (len(shape) - 1))
    return Reader(Parameter(node, 1, numbers, divides=False), node.inputs[0], labels)


def _read_gemm(node: gs.Node, index: int, labels: Labels) -> Reader | Reason | None:
    if index != 0:
        return None
    if _weight(node) is None:
        return _not_constant(node)
    if labels.size != labels.shape[1] or node.attrs.get("transA", 0):
        return _off_axis(node)
    transposed = bool(node.attrs.get("transB", 0))
    numbers = labels.reshape(-1)
    weight = Parameter(node, 1, numbers[None] if transposed else numbers[:, None], divides=False)
    return Reader(weight, node.inputs[0], labels)


def _read_matmul(node: gs.Node, index: int, labels: Labels) -> Reader | Reason | None:
    shape = _weight(node)
    if index != 0 or shape is None:
        return None
    if len(shape) != 2 or labels.size != labels.shape[-1]:
        return _off_axis(node)
    return Reader(Parameter(node, 1, labels.reshape(-1, 1), divides=False), node.inputs[0], labels)


def _off_axis(node: gs.Node) -> Reason:
    return Reason("`{}` does not sum over the channels of `{}`", node.outputs[0].name, node.inputs[0].name)


def _on_axis_1(numbers: np.ndarray, spatial: int) -> Labels:
    return numbers.reshape(1, -1, *(1,) * spatial)


_READERS: Mapping[str, Callable[[gs.Node, int, Labels], Reader | Reason | None]] = {
    "Conv": _read_conv,
    "ConvTranspose": _read_conv_transpose,
    "Gemm": _read_gemm,
    "MatMul": _read_matmul,
}
