"""Operators that work along the last axis only, for those that ONNX has along any."""

from __future__ import annotations

from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor


def to_last(op: Op, tensor: Tensor, axis: int) -> Tensor:
    """A tensor with one of its stored axes as the last one."""
    rank = len(tensor.shape)
    return transposed(op, tensor, [*(place for place in range(rank) if place != axis), axis])


def from_last(op: Op, tensor: Tensor, axis: int, rank: int) -> Tensor:
    """A tensor with its last axis back in the place that `to_last` took it from."""
    order = list(range(rank - 1))
    order.insert(axis, rank - 1)
    return transposed(op, tensor, order)


def transposed(op: Op, tensor: Tensor, order: list[int]) -> Tensor:
    """A tensor with its axes in another order; itself if it is that."""
    if order == sorted(order):
        return tensor
    shape = [tensor.shape[axis] for axis in order]
    moving = [axis for axis in order if tensor.shape[axis] != 1]
    if moving == sorted(moving):
        return op.reshape(tensor, shape)
    return op.apply("TRANSPOSE", [tensor, op.const(order)], shape, tensor)
