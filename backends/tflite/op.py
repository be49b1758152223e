"""What the functions of the table work with: one kernel, what it reads and writes, and how to emit operators for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.tflite.flattening import ColumnOrder
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_plan import LayoutPlan
from pruna_ir.backends.tflite.layouts import Layout, identity
from pruna_ir.backends.tflite.program import Operator, Quantization, Tensor
from pruna_ir.backends.tflite.table import Unsupported
from pruna_ir.backends.tflite.tensors import Tensors, constant_value, static
from pruna_ir.backends.tflite.types import narrowed

# Operators whose results are never negative, those whose results are values of their input, and how many of these are
# looked behind.
_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Abs", "Exp", "Sqrt"})
_MOVES = frozenset({"MaxPool", "Reshape", "Transpose", "Slice", "Identity"})
# Operators that hand on infinities which they read.
_KEEPS_INFINITIES = frozenset(
    {"Add", "Concat", "Expand", "Identity", "Reshape", "Slice", "Transpose", "Unsqueeze", "Where"}
)
_LOOK_BACK = 8


class Op:
    """One kernel that is being written.

    `mode` is the layout that it works in. Indices of inputs and outputs, axes and shapes are ONNX's unless a name says
    `stored`.
    """

    def __init__(self, kernel: Kernel, plan: LayoutPlan, tensors: Tensors, emit: Callable[[Operator], None]) -> None:
        self.kernel, self.mode, self.tensors = kernel, plan.mode(kernel), tensors
        self._rule, self._plan, self._emit = plan.rule(kernel), plan, emit

    @property
    def node(self) -> gs.Node:
        """The node of the graph."""
        return self.kernel.node

    @property
    def integer(self) -> bool:
        """Whether it computes in quantized integers."""
        return self.kernel.integer

    @property
    def activation(self) -> str:
        """The activation function that is part of it, as `fusedActivationFunction` has it."""
        return self.kernel.activation

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attrs.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.kernel.inputs) and not self.kernel.inputs[index].is_empty()

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input, in ONNX's order."""
        return static(self.kernel.inputs[index])

    def result_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output, in ONNX's order."""
        return static(self.kernel.outputs[index])

    def dtype(self, index: int = 0) -> np.dtype:
        """The type in which an input is stored."""
        return narrowed(self.kernel.inputs[index].dtype)

    def axis(self, axis: int) -> int:
        """Where an axis of ONNX's (of the main input; negative ones count from the end) is in what is stored."""
        return self.mode.index(axis % len(self.mode))

    def stored(self, per_axis: Iterable[Any]) -> list[Any]:
        """Values for each axis of ONNX's, in the order of what is stored."""
        values = list(per_axis)
        return [values[axis] for axis in self.mode]

    def constant(self, index: int) -> np.ndarray | None:
        """The values of an input if it is constant (out of integers, if it is stored in them), as ONNX has them."""
        known = constant_value(self.kernel.inputs[index]) if self.has(index) else None
        return None if known is None else known.real()

    def required(self, index: int, what: str) -> np.ndarray:
        """The values of an input that must be constant; Unsupported if it is not."""
        values = self.constant(index)
        if values is None:
            raise Unsupported(f"its {what} is computed, and LiteRT needs a constant")
        return values

    def read(self, index: int = 0, layout: Layout | None = None) -> Tensor:
        """An input as the kernel wants it: in its layout, broadcast to its rank if need be; or in another layout."""
        value = self.kernel.inputs[index]
        if layout is not None:
            return self.tensors.read(value, layout, integers=self.integer)
        wanted = self._rule.input_layout(self.kernel, index, self.mode)
        if self._rule.broadcasts and len(value.shape) < len(self.mode):
            return self.tensors.read_broadcast(value, self.mode, integers=self.integer)
        return self.tensors.read(value, wanted, integers=self.integer)

    def lies(self, index: int = 0) -> Layout:
        """The layout in which an input is stored now; that of ONNX for constants."""
        value = self.kernel.inputs[index]
        return identity(len(value.shape)) if constant_value(value) is not None else self.tensors.written(value)

    def columns(self, index: int = 0) -> ColumnOrder | None:
        """The order in which the columns of a flattened input are stored, if that is not ONNX's."""
        return self._plan.columns(self.kernel.inputs[index])

    def result_columns(self) -> ColumnOrder | None:
        """The same of the first output."""
        return self._plan.columns(self.kernel.outputs[0])

    def never_negative(self, index: int = 0) -> bool:
        """Whether no value of an input can be below zero, by what writes it."""
        value = self.kernel.inputs[index]
        for _ in range(_LOOK_BACK):
            kernel = self._plan.writer(value)
            if kernel is None:
                return False
            if kernel.activation in ("RELU", "RELU6") or kernel.op in _NEVER_NEGATIVE:
                return True
            if kernel.op not in _MOVES:
                return False
            value = kernel.inputs[0]
        return False

    def comes_from_outside(self, index: int = 0) -> bool:
        """Whether an input is one of the graph."""
        value = self.kernel.inputs[index]
        return constant_value(value) is None and self._plan.writer(value) is None

    def infinite(self, index: int) -> bool:
        """Whether values of an input are minus infinity on purpose, as those of attention masks are."""
        return self._infinite(self.kernel.inputs[index], _LOOK_BACK)

    def _infinite(self, value: gs.Tensor, steps: int) -> bool:
        known, kernel = constant_value(value), self._plan.writer(value)
        if known is not None:
            return known.array.dtype.kind == "f" and bool(np.isneginf(known.array).any())
        if kernel is None or kernel.op not in _KEEPS_INFINITIES or not steps:
            return False
        return any(self._infinite(read, steps - 1) for read in kernel.inputs if not read.is_empty())

    def only_read_by(self, op: str) -> bool:
        """Whether nodes of this operator, and nothing else, read what it writes first."""
        value = self.kernel.outputs[0]
        return not self._plan.is_output(value) and all(node.op == op for node in value.outputs)

    def read_flat(self, index: int = 0) -> Tensor:
        """An input as any tensor that holds its values in ONNX's order, whatever its shape."""
        return self.tensors.read_any_order(self.kernel.inputs[index])

    def weight(
        self,
        index: int,
        change: Callable[[np.ndarray], np.ndarray],
        axis: Callable[[int], int],
        *,
        hybrid: bool = False,
    ) -> Tensor:
        """A constant input, brought into another form by `change`; `axis` maps axes for its scales.

        `hybrid` says that the operator takes weights in integers with data in float.
        """
        self.required(index, "weight")
        integers = self.integer or (hybrid and self.tensors.hybrid)
        return self.tensors.weight(self.kernel.inputs[index], change, axis, integers)

    def write(self, index: int = 0) -> Tensor:
        """The tensor of an output."""
        layout = self._rule.output_layout(self.kernel, index, self.mode)
        return self.tensors.declare(self.kernel.outputs[index], layout)

    def write_as_onnx(self, index: int = 0) -> Tensor:
        """The tensor of an output in ONNX's order, whatever the rule says."""
        value = self.kernel.outputs[index]
        return self.tensors.declare(value, identity(len(value.shape)))

    def writes(self, index: int) -> bool:
        """Whether an optional output is asked for."""
        return index < len(self.kernel.outputs) and not self.kernel.outputs[index].is_empty()

    def const(self, values: Any, dtype: Any = np.int32, quantization: Quantization | None = None) -> Tensor:
        """A constant that the operator needs beside those of the graph."""
        return self.tensors.constant(np.asarray(values, dtype), f"{self.name}/constant", quantization)

    def scalar(self, value: float, like: Tensor) -> Tensor:
        """A constant number of the type of another tensor."""
        return self.tensors.constant(np.asarray(value, like.dtype), f"{self.name}/constant")

    def temp(self, shape: Iterable[int], like: Tensor, dtype: Any = None) -> Tensor:
        """A tensor between two operators, in the type and scale of another one (`dtype`: of this type)."""
        if dtype is not None:
            return self.tensors.temporary(f"{self.name}/inner", shape, dtype)
        return self.tensors.temporary(f"{self.name}/inner", shape, like.dtype, like.quantization)

    def reshape(self, source: Tensor, shape: Iterable[int]) -> Tensor:
        """A tensor in another stored shape; itself if it has it."""
        return self.tensors.reshaped(source, tuple(shape))

    def emit(self, code: str, inputs: list[Tensor | None], outputs: Tensor | list[Tensor], **options: Any) -> None:
        """Append an operator; options as the schema spells them."""
        written = outputs if isinstance(outputs, list) else [outputs]
        self._emit(Operator(code, inputs, written, options))

    def apply(
        self, code: str, inputs: list[Tensor | None], shape: Iterable[int], like: Tensor, **options: Any
    ) -> Tensor:
        """Append an operator whose result is between two operators, and return that."""
        result = self.temp(shape, like)
        self.emit(code, inputs, result, **options)
        return result

    @property
    def name(self) -> str:
        """A name for what belongs to it."""
        return str(self.node.name or self.kernel.outputs[0].name)
