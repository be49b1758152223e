"""Formulas of several operators: what LiteRT has no operator for, element by element, in the types that it has."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported

# What kernels compute in, for types that they only move: integers wrap around when they are cast back.
_WIDER = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16"), np.int32),
    "uint32": np.int64,
}
_BOOLEAN = {"EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"}
Operand = Tensor | float


class Formula:
    """Operators between what a kernel reads and what it writes; numbers among the operands become constants."""

    def __init__(self, op: Op) -> None:
        self.op = op

    def read(self, index: int = 0) -> Tensor:
        """An input, in a type that kernels compute in."""
        return self.computable(self.op.read(index))

    def computable(self, tensor: Tensor) -> Tensor:
        """A tensor in a type that kernels compute in; integers that stand for real numbers stay as they are."""
        if self.op.integer:
            return tensor
        if tensor.dtype == np.uint64:
            raise Unsupported("LiteRT does not compute with uint64")
        return self.cast(tensor, _WIDER.get(tensor.dtype.name, tensor.dtype))

    def cast(self, tensor: Tensor, dtype: Any) -> Tensor:
        """A tensor in another type; itself if it has it."""
        if tensor.dtype == np.dtype(dtype):
            return tensor
        if tensor.data is not None:
            return self.constant(tensor.data, dtype)
        result = self.op.temp(tensor.shape, tensor, dtype)
        self.into("CAST", result, tensor)
        return result

    def constant(self, values: Any, dtype: Any) -> Tensor:
        """A constant of this very type."""
        return self.op.tensors.raw(np.asarray(values).astype(dtype), f"{self.op.name}/constant")

    def __call__(self, code: str, *operands: Operand, **options: Any) -> Tensor:
        """The result of an operator on operands that are broadcast to each other."""
        result = self._result(code, operands)
        self.into(code, result, *operands, **options)
        return result

    def write(self, code: str, *operands: Operand, index: int = 0, **options: Any) -> None:
        """Write an output of the kernel by an operator, and a cast if that has another type."""
        output, result = self.op.write(index), self._result(code, operands)
        if output.dtype == result.dtype:
            self.into(code, output, *operands, **options)
        else:
            self.into(code, result, *operands, **options)
            self.into("CAST", output, result)

    def give(self, tensor: Tensor, index: int = 0) -> None:
        """Let an output of the kernel be a tensor that is there."""
        output = self.op.write(index)
        if tensor.dtype != output.dtype:
            self.into("CAST", output, self.op.reshape(tensor, output.shape))
        else:
            self.op.tensors.reshape_into(tensor, output)

    def into(self, code: str, result: Tensor, *operands: Operand, **options: Any) -> None:
        """Append an operator that writes a tensor."""
        like = _typed(operands)
        read = [operand if isinstance(operand, Tensor) else self.constant(operand, like.dtype) for operand in operands]
        if code == "CAST":
            options = {"inDataType": like.dtype.name.upper(), "outDataType": result.dtype.name.upper()}
        self.op.emit(code, list(read), result, **options)

    def _result(self, code: str, operands: tuple[Operand, ...]) -> Tensor:
        tensors = [operand for operand in operands if isinstance(operand, Tensor)]
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        if code in _BOOLEAN:
            return self.op.temp(shape, tensors[0], np.bool_)
        return self.op.temp(shape, tensors[1] if code == "SELECT_V2" and len(tensors) > 1 else tensors[0])


def _typed(operands: tuple[Operand, ...]) -> Tensor:
    """The operand whose type the others take."""
    tensors = [operand for operand in operands if isinstance(operand, Tensor)]
    return next((tensor for tensor in tensors if tensor.dtype != np.bool_), tensors[0])
