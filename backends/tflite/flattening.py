"""Flatten before a product with a constant matrix: the matrix's columns are put in the order in which values lie.

So nothing has to be transposed between a convolutional part, which has channels last, and the classifier behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layouts import Layout, identity, same_order
from pruna_ir.backends.tflite.tensors import constant_value

# Operators that treat all values alike, whatever their order.
_BLIND = frozenset(
    {
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Gelu", "Elu", "Identity"),
        *("QuantizeLinear", "DequantizeLinear"),
    }
)
_FLATTENS = frozenset({"Flatten", "Reshape"})
_PRODUCTS = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True)
class ColumnOrder:
    """The order of the columns of a flattened value: that of an array of `shape` whose axes are permuted by `order`."""

    shape: tuple[int, ...]
    order: tuple[int, ...]

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """A constant in which the columns along an axis stand in this order."""
        before, after = array.shape[:axis], array.shape[axis + 1 :]
        end = axis + len(self.shape)
        order = (*range(axis), *(axis + place for place in self.order), *range(end, end + len(after)))
        return array.reshape(*before, *self.shape, *after).transpose(order).reshape(array.shape)


def column_orders(
    kernels: Iterable[Kernel], written: Callable[[gs.Tensor], Layout], outputs: Iterable[gs.Tensor]
) -> dict[int, ColumnOrder]:
    """For flattened values, by identity, the order in which their columns are stored. `written` gives layouts."""
    readers: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        for tensor in kernel.inputs:
            readers.setdefault(id(tensor), []).append(kernel)
    kept = {id(tensor) for tensor in outputs}
    orders: dict[int, ColumnOrder] = {}
    for kernel in kernels:
        order = _order(kernel, written)
        if order is None:
            continue
        reached = _reached(kernel.outputs[0], readers, kept)
        if reached is not None:
            orders |= dict.fromkeys(reached, order)
    return orders


def _order(kernel: Kernel, written: Callable[[gs.Tensor], Layout]) -> ColumnOrder | None:
    """The order of columns that a Flatten gives if what it reads stays as it lies; None if it moves nothing."""
    if kernel.op not in _FLATTENS:
        return None
    source, result = kernel.inputs[0], kernel.outputs[0]
    layout = written(source)
    shape = [int(size) for size in source.shape]
    if len(result.shape) != 2 or shape[0] != result.shape[0] or layout[0] != 0:
        return None
    if same_order(shape, layout, identity(len(shape))):
        return None
    return ColumnOrder(tuple(shape[1:]), tuple(axis - 1 for axis in layout[1:]))


def _reached(value: gs.Tensor, readers: Mapping[int, list[Kernel]], kept: set[int]) -> list[int] | None:
    """The values on the way to products with constants; None if anything else reads one of them."""
    waiting, found = [value], []
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in kept:
            return None
        found.append(id(tensor))
        for kernel in readers.get(id(tensor), []):
            if kernel.inputs[0] is not tensor:
                return None
            if kernel.op in _BLIND:
                waiting += kernel.outputs
            elif not _is_product(kernel):
                return None
    return found


def _is_product(kernel: Kernel) -> bool:
    if kernel.op not in _PRODUCTS or kernel.node.attrs.get("transA", 0):
        return False
    second = constant_value(kernel.inputs[1])
    return second is not None and second.array.ndim == 2
