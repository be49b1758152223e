"""Rules of operators that multiply by weights: convolutions and matrix products."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.elementwise import broadcast
from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.analysis.axes.signature import Signature
from pruna_ir.remarks import Reason

_DATA, _WEIGHT, _BIAS = 0, 1, 2
_CONV = Signature("X[n c *] W[o c *] B[o] -> Y[n o *]")
_CONV_TRANSPOSE = Signature("X[n c *] W[c o *] B[o] -> Y[n o *]")
_GEMM = {
    (0, 0): Signature("A[m k] B[k n] -> Y[m n]"),
    (0, 1): Signature("A[m k] B[n k] -> Y[m n]"),
    (1, 0): Signature("A[k m] B[k n] -> Y[m n]"),
    (1, 1): Signature("A[k m] B[n k] -> Y[m n]"),
}


def _conv(at: NodeAxes) -> Reason | None:
    groups = at.node.attrs.get("group", 1)
    if groups == 1:
        return _CONV(at)
    all_outputs, inputs = at.input(_WEIGHT)[:2]
    if all_outputs is not None and (inputs is None or len(all_outputs) == groups):
        _whole_groups(at, groups, all_outputs, len(all_outputs))
    elif all_outputs is not None and inputs is not None:
        _inside_groups(at, groups, all_outputs, inputs)
        at.produce(_WEIGHT, 0)
        at.contract((_WEIGHT, 1))
    else:
        return at.reason("has a weight whose size is not known")
    return None


def _conv_transpose(at: NodeAxes) -> Reason | None:
    groups = at.node.attrs.get("group", 1)
    if groups == 1:
        return _CONV_TRANSPOSE(at)
    all_inputs, outputs = at.input(_WEIGHT)[:2]
    if all_inputs is not None and (outputs is None or len(all_inputs) == groups):
        _whole_groups(at, groups, all_inputs, groups if outputs is None else groups * len(outputs))
    elif all_inputs is not None and outputs is not None:
        _inside_groups(at, groups, np.tile(outputs, groups), all_inputs)
        at.produce(_WEIGHT, 1)
        at.contract((_WEIGHT, 0))
    else:
        return at.reason("has a weight whose size is not known")
    return None


def _whole_groups(at: NodeAxes, groups: int, weight: np.ndarray, outputs: int) -> None:
    """Groups of one input or one output, as in depthwise convolutions: all channels of a group go together.

    `weight` are the labels of the first axis of the weight, the outputs or the inputs of all groups by the operator.
    """
    whole = weight.reshape(groups, -1)[:, :1]
    at.equate(whole, weight.reshape(groups, -1))
    data = at.input(_DATA)[1]
    at.equate(whole, None if data is None else data.reshape(groups, -1))
    _write(at, np.repeat(whole[:, 0], outputs // groups))


def _inside_groups(at: NodeAxes, groups: int, written: np.ndarray, read: np.ndarray) -> None:
    """Every group loses the channels of the same places; `written` and `read` are labels of all groups, or of one."""
    for labels in (written, at.input(_DATA)[1]):
        if labels is not None:
            at.equate(labels.reshape(groups, -1), labels.reshape(groups, -1)[0])
    data = at.input(_DATA)[1]
    at.equate(read, data if data is None or len(read) == len(data) else data.reshape(groups, -1)[0])
    _write(at, written)


def _write(at: NodeAxes, channels: np.ndarray) -> None:
    if at.has(_BIAS):
        at.equate(channels, at.input(_BIAS)[0])
    for labels in (*at.input(_DATA)[2:], *at.input(_WEIGHT)[2:]):
        at.protect(labels, at.reason("mixes the positions of this axis"))
    at.write([at.input(_DATA)[0], channels, *[None] * (len(at.shape(_DATA)) - 2)])


def _regroup(node: gs.Node, repair: Repair) -> None:
    """Whole groups that were cut are no longer counted."""
    groups = node.attrs.get("group", 1)
    read, written = repair.input(_DATA, 1), repair.output(1)
    if groups > 1 and read is not None and written is not None and groups in (len(read), len(written)):
        node.attrs["group"] = int(written.reshape(groups, -1)[:, 0].sum())


def _gemm(at: NodeAxes) -> Reason | None:
    transposed = at.node.attrs.get("transA", 0), at.node.attrs.get("transB", 0)
    refusal = _GEMM[transposed](at)
    if refusal is None and at.has(_BIAS):
        shape = at.shape(_DATA)[transposed[0]], at.shape(_WEIGHT)[1 - transposed[1]]
        broadcast(at, [(shape, at.output()), (at.shape(_BIAS), at.input(_BIAS))])
    return refusal


def _matmul(at: NodeAxes) -> Reason | None:
    """The last axis of the first factor and the last but one of the second are summed over; batch axes broadcast."""
    (first, second), (rows, columns) = (at.shape(0), at.shape(1)), (at.input(0), at.input(1))
    depth = max(len(second) - 2, 0)
    at.equate(rows[-1], columns[depth])
    at.contract((0, len(first) - 1), (1, depth))
    axes: list[Labels] = broadcast(at, [(first[:-2], rows[:-2]), (second[:-2], columns[:-2])])
    for index, axis in ((0, len(first) - 2), (1, len(second) - 1 if len(second) > 1 else -1)):
        if axis >= 0:
            axes.append(at.input(index)[axis])
            if at.is_weight(index):
                at.produce(index, axis)
    at.write(axes)
    return None


RULES = {
    "Conv": AxisRule(_conv, repair=_regroup),
    "ConvTranspose": AxisRule(_conv_transpose, repair=_regroup),
    "Gemm": AxisRule(_gemm),
    "MatMul": AxisRule(_matmul),
}
