"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_rules import LayoutRule
from pruna_ir.backends.tflite.layouts import Layout, identity, same_order
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.convolution import bias_of
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers
from pruna_ir.backends.tflite.tensors import constant_value


class _Product(LayoutRule):
    """A product with a constant matrix works in every layout that keeps the summed axis last; others in ONNX's."""

    def _dense(self, kernel: Kernel) -> bool:
        return is_dense(kernel)

    def fixed(self, kernel: Kernel) -> Layout | None:
        rank = len(kernel.inputs[0].shape)
        return None if self._dense(kernel) and rank > 2 else identity(rank)

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode if index == 0 else identity(len(kernel.inputs[index].shape))

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        rank = len(kernel.outputs[index].shape)
        return mode if len(mode) == rank and self._dense(kernel) else identity(rank)

    def takes(self, kernel: Kernel, index: int, layout: Layout) -> bool:
        return index == 1 and is_turned(kernel.inputs[1].shape, layout)

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout if index == 0 and layout and layout[-1] == len(layout) - 1 else None

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return self.from_input(kernel, 0, layout)


def swapped(rank: int) -> Layout:
    """The layout of a matrix that is stored by columns."""
    return (*range(rank - 2), rank - 1, rank - 2)


def is_turned(shape: Sequence[int], layout: Layout) -> bool:
    """Whether a matrix is stored by columns."""
    rank = len(layout)
    if rank < 2 or same_order(shape, layout, identity(rank)):
        return False
    return same_order(shape, layout, swapped(rank))


def is_dense(kernel: Kernel) -> bool:
    """Whether a MatMul is a FULLY_CONNECTED: its second operand is a constant matrix."""
    second = constant_value(kernel.inputs[1])
    return second is not None and second.array.ndim == 2 and len(kernel.inputs[0].shape) >= 2


@lowers("MatMul", layout=_Product(), activates=True)
def matmul(op: Op) -> None:
    """FULLY_CONNECTED with a constant matrix, else BATCH_MATMUL."""
    if is_dense(op.kernel):
        data = op.read()
        order = op.columns()

        def change(array: np.ndarray) -> np.ndarray:
            return (array if order is None else order.apply(array, 0)).T

        weight = op.weight(1, change, lambda axis: 1 - axis, hybrid=True)
        _fully_connected(op, data, weight, bias_of(op, data, weight, weight.shape[0]))
        return
    _batched(op)


def _fully_connected(op: Op, data: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    keep = len(data.shape) > 2
    op.emit(
        "FULLY_CONNECTED",
        [data, weight, bias],
        op.write(),
        keepNumDims=keep,
        fusedActivationFunction=op.activation,
    )


def _batched(op: Op) -> None:
    """Vectors get an axis of size one, which the result loses again. A second operand may lie transposed."""
    turned = is_turned(op.shape(1), op.lies(1))
    first, second = op.read(0), op.read(1, swapped(len(op.shape(1)))) if turned else op.read(1)
    one, other = len(first.shape) == 1, len(second.shape) == 1
    first = op.reshape(first, (1, *first.shape)) if one else first
    second = op.reshape(second, (*second.shape, 1)) if other else second
    lead = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    shape = (*lead, first.shape[-2], second.shape[-2 if turned else -1])
    result = op.write()
    written = result if shape == result.shape else op.temp(shape, result)
    if op.activation != "NONE":
        plain = op.temp(shape, result)
        op.emit("BATCH_MATMUL", [first, second], plain, adjX=False, adjY=turned)
        op.emit(_ACTIVATIONS[op.activation], [plain], written)
    else:
        op.emit("BATCH_MATMUL", [first, second], written, adjX=False, adjY=turned)
    if written is not result:
        op.tensors.reshape_into(written, result)


_ACTIVATIONS = {"RELU": "RELU", "RELU6": "RELU6", "RELU_N1_TO_1": "RELU_N1_TO_1"}


@lowers("Gemm", activates=True)
def gemm(op: Op) -> None:
    """FULLY_CONNECTED; alpha and beta go into its constants, or become factors of their own."""
    alpha, beta = op.attr("alpha", 1.0), op.attr("beta", 1.0)
    transposed = bool(op.attr("transB", 0))
    constant = op.constant(1) is not None
    if op.integer and (alpha != 1.0 or beta != 1.0 or not constant):
        raise Unsupported("alpha, beta and computed weights have no integer kernel")
    data = _rows(op, alpha if not constant else 1.0)
    if constant:
        order = op.columns()

        def change(array: np.ndarray) -> np.ndarray:
            array = array if transposed else array.T
            array = array if order is None else order.apply(array, 1)
            return array if alpha == 1.0 else (array * alpha).astype(array.dtype)

        weight = op.weight(1, change, lambda axis: axis if transposed else 1 - axis, hybrid=alpha == 1.0)
    else:
        weight = op.read(1)
        weight = weight if transposed else _turned(op, weight)
    bias, added = _bias(op, data, weight, beta)
    if added is None:
        op.emit("FULLY_CONNECTED", [data, weight, bias], op.write(), fusedActivationFunction=op.activation)
        return
    result = op.write()
    product = op.apply("FULLY_CONNECTED", [data, weight, bias], result.shape, result, fusedActivationFunction="NONE")
    op.emit("ADD", [product, added], result, fusedActivationFunction=op.activation)


def _rows(op: Op, factor: float) -> Tensor:
    """The first operand with a sample a row, times a factor."""
    data = op.read(0)
    if op.attr("transA", 0):
        data = _turned(op, data)
    if factor != 1.0:
        data = op.apply("MUL", [data, op.scalar(factor, data)], data.shape, data, fusedActivationFunction="NONE")
    return data


def _turned(op: Op, matrix: Tensor) -> Tensor:
    return op.apply("TRANSPOSE", [matrix, op.const([1, 0])], matrix.shape[::-1], matrix)


def _bias(op: Op, data: Tensor, weight: Tensor, beta: float) -> tuple[Tensor | None, Tensor | None]:
    """What is added for each column, and what has to be added as a tensor."""
    columns = weight.shape[0]
    if not op.has(2) or op.integer:
        return bias_of(op, data, weight, columns), None
    values = op.constant(2)
    if values is not None and (values.size == 1 or values.shape[-1:] == (values.size,) == (columns,)):
        row = np.broadcast_to(values.reshape(-1).astype(np.float64) * beta, (columns,))
        return op.const(row, np.float32), None
    added = op.read(2)
    if beta != 1.0:
        added = op.apply("MUL", [added, op.scalar(beta, added)], added.shape, added, fusedActivationFunction="NONE")
    return None, added
