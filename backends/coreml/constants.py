"""Constants of the graph, and what integers stand for where weights are stored in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, params_of, writer_of
from pruna_ir.analysis.qdq import stored as stored_behind
from pruna_ir.calibration.scheme import QuantParams

# Integers that a program stores weights in, to be dequantized when it is loaded.
_STORED = ("int8", "uint8", "int4", "uint4")


@dataclass(frozen=True)
class Blocks:
    """A scale and a zero point for every block of a constant: as many axes as that has, each size a divisor of its."""

    scale: np.ndarray
    zero_point: np.ndarray

    def broadcast(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point of every value."""
        full = [self.scale, self.zero_point.astype(np.int64)]
        for axis, size in enumerate(shape):
            full = [np.repeat(array, size // self.scale.shape[axis], axis) for array in full]
        return full[0], full[1]


@dataclass(frozen=True)
class ConstantValue:
    """A constant of the graph; `params` or `blocks` say what its integers stand for, where it is stored in integers."""

    name: str
    array: np.ndarray
    params: QuantParams | None = None
    blocks: Blocks | None = None

    def real(self) -> np.ndarray:
        """Its values, out of integers where they stand for real numbers."""
        if self.blocks is not None:
            scale, zero_point = self.blocks.broadcast(self.array.shape)
        elif self.params is not None:
            scale, zero_point = self.params.broadcast(self.array.ndim)
        else:
            return self.array
        return np.asarray((self.array.astype(np.int64) - zero_point.astype(np.int64)).astype(np.float32) * scale)

    @property
    def packed(self) -> bool:
        """Whether the program stores it in integers."""
        quantized = self.params is not None or self.blocks is not None
        return quantized and self.array.dtype.name in _STORED and self.array.ndim > 0

    def as_blocks(self) -> Blocks:
        """The scales in the form that is for blocks, of which one scale and one a channel are cases."""
        if self.blocks is not None:
            return self.blocks
        assert self.params is not None
        shape = [1] * self.array.ndim
        if self.params.axis is not None:
            shape[self.params.axis] = -1
        return Blocks(np.reshape(self.params.scale, shape), np.reshape(self.params.zero_point, shape))

    def transposed(self, order: list[int]) -> ConstantValue:
        """With its axes in another order."""
        params, blocks = self.params, self.blocks
        if params is not None and params.axis is not None:
            params = QuantParams(params.scale, params.zero_point, order.index(params.axis % self.array.ndim))
        if blocks is not None:
            blocks = Blocks(blocks.scale.transpose(order), blocks.zero_point.transpose(order))
        return ConstantValue(self.name, self.array.transpose(order), params, blocks)


def constant_value(tensor: gs.Tensor) -> ConstantValue | None:
    """The constant that a tensor is, by itself or behind a DequantizeLinear."""
    if isinstance(tensor, gs.Constant):
        return ConstantValue(tensor.name, np.asarray(tensor.values))
    behind = stored_behind(tensor)
    if behind is not None:
        params = params_of(behind.dequantize)
        return ConstantValue(behind.constant.name, np.asarray(behind.constant.values), params)
    return _in_blocks(tensor)


def _in_blocks(tensor: gs.Tensor) -> ConstantValue | None:
    """A constant with a scale for each block, if a DequantizeLinear of one writes the tensor."""
    node = writer_of(tensor)
    if node is None or node.op != DEQUANTIZE or not node.attrs.get("block_size", 0):
        return None
    inputs = [item for item in node.inputs if not item.is_empty()]
    if not all(isinstance(item, gs.Constant) for item in inputs):
        return None
    data, scale = (np.asarray(item.values) for item in inputs[:2])
    zero_point = np.asarray(inputs[2].values) if len(inputs) > 2 else np.zeros(scale.shape, data.dtype)
    if any(size % count for size, count in zip(data.shape, scale.shape, strict=True)):
        return None
    return ConstantValue(inputs[0].name, data, blocks=Blocks(scale.astype(np.float32), zero_point))
