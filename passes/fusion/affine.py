"""Nodes that compute scale * x + shift with constants, one of each per channel (axis 1)."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable
from pruna_ir.remarks import Reason

# Scale and shift, float64 of shape [channels].
Affine = tuple[np.ndarray, np.ndarray]

# The default of the attribute, by ONNX.
_EPSILON = 1e-5


def batch_norm(bn: gs.Node) -> Affine | Reason:
    """What a BatchNormalization computes, or why its statistics cannot be folded."""
    if bn.attrs.get("training_mode", 0) or any(not tensor.is_empty() for tensor in bn.outputs[1:]):
        return Reason("`{}` is in training mode", node_name(bn))
    reason = not_foldable(bn.inputs[1:])
    if reason is not None:
        return reason
    gamma, beta, mean, variance = (as_float64(tensor) for tensor in bn.inputs[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(variance + bn.attrs.get("epsilon", _EPSILON))
    return scale, beta - mean * scale


def arithmetic(node: gs.Node, index: int, channels: int, rank: int) -> Affine | Reason:
    """What a Mul, Add, Sub or Div computes of its operand number `index`, the other one being a constant.

    A reason if the constant is not one value per channel, or if it adds dimensions or channels to the operand.
    """
    data, operand = node.inputs[index], node.inputs[1 - index]
    reason = not_foldable([operand])
    if reason is not None:
        return reason
    if data.shape is None or len(data.shape) != rank or data.shape[1] != channels:
        return Reason("`{}` of shape {} is not known to have {} channels", data.name, data.shape, channels)
    shape = (1,) * (rank - len(operand.shape)) + tuple(operand.shape)
    if len(shape) > rank or shape[1] not in (1, channels) or any(size != 1 for size in (shape[0], *shape[2:])):
        stated = list(operand.shape)
        return Reason("`{}` of shape {} is neither a scalar nor one value per channel", operand.name, stated)
    values = np.broadcast_to(as_float64(operand).reshape(-1), (channels,))
    return scale_and_shift(node.op, values, index)


def scale_and_shift(op: str, values: np.ndarray, index: int) -> Affine:
    """What a Mul, Add, Sub or Div with these constants, [channels], computes of its operand number `index`."""
    one, zero = np.ones_like(values), np.zeros_like(values)
    if op == "Mul":
        return values, zero
    if op == "Div":
        with np.errstate(divide="ignore", invalid="ignore"):
            return one / values, zero
    if op == "Sub":
        return (one, -values) if index == 0 else (-one, values)
    return one, values
