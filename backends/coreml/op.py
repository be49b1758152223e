"""What the functions of the table work with: one node, what it reads and writes, and how to append operators for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.coreml.constants import ConstantValue, constant_value
from pruna_ir.backends.coreml.types import held, mil_name
from pruna_ir.backends.coreml.values import Values
from pruna_ir.backends.unsupported import Unsupported


class Op:
    """One node that is being written. Calling it appends an operator of MIL and returns what that writes."""

    def __init__(self, node: gs.Node, values: Values, opset: int) -> None:
        self.node, self.values, self.opset = node, values, opset
        self.name = str(node.outputs[0].name or node.name)

    @property
    def op(self) -> str:
        """The operator of ONNX."""
        return str(self.node.op)

    @property
    def ios(self) -> int:
        """The version of iOS that the program is for."""
        return self.values.build.ios

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attrs.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def writes(self, index: int) -> bool:
        """Whether an optional output is asked for."""
        return index < len(self.node.outputs) and not self.node.outputs[index].is_empty()

    def rank(self, index: int = 0) -> int:
        """How many axes an input has."""
        return len(self.read(index).shape)

    def axis(self, default: int, rank: int | None = None) -> int:
        """The attribute `axis`, counted from the front."""
        return int(self.attr("axis", default)) % max(self.rank() if rank is None else rank, 1)

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input; Unsupported where it is not fixed."""
        return _static(self.node.inputs[index])

    def result_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output; Unsupported where it is not fixed."""
        return _static(self.node.outputs[index])

    def dtype(self, index: int = 0) -> np.dtype:
        """The type of an input, in ONNX."""
        found: np.dtype = np.dtype(self.node.inputs[index].dtype)
        return found

    def result_dtype(self, index: int = 0) -> np.dtype:
        """The type of an output, in ONNX."""
        found: np.dtype = np.dtype(self.node.outputs[index].dtype)
        return found

    def known(self, index: int) -> ConstantValue | None:
        """An input as the constant that it is."""
        return constant_value(self.node.inputs[index]) if self.has(index) else None

    def constant(self, index: int) -> np.ndarray | None:
        """The values of an input if it is constant (out of integers, if it is stored in them)."""
        found = self.known(index)
        return None if found is None else found.real()

    def required(self, index: int, what: str) -> np.ndarray:
        """The values of an input that must be constant; Unsupported if it is not."""
        values = self.constant(index)
        if values is None:
            raise Unsupported(f"its {what} is computed, and Core ML needs a constant")
        return values

    def read(self, index: int = 0) -> Any:
        """The variable of an input."""
        return self.values.read(self.node.inputs[index])

    def optional(self, index: int) -> Any:
        """The variable of an input that may be left out, or None."""
        return self.read(index) if self.has(index) else None

    def weight(self, index: int, change: Callable[[ConstantValue], ConstantValue]) -> Any:
        """A constant input, brought into another form."""
        return self.values.weight(self.node.inputs[index], change)

    def __call__(self, kind: str, **params: Any) -> Any:
        """Append an operator; parameters that are None are left out, numbers become constants."""
        return self.values.build(kind, self.values.names.unique(f"{self.name}_{kind}"), **params)

    def cast(self, var: Any, dtype: Any) -> Any:
        """A variable in another type."""
        return self.values.build.cast(var, mil_name(dtype), self.values.names.unique(f"{self.name}_cast"))

    def is_float(self, var: Any) -> bool:
        """Whether a variable holds floating-point numbers."""
        return self.values.build.dtype(var) in ("fp16", "fp32")

    def mil_dtype(self, var: Any) -> str:
        """MIL's name of the type of a variable."""
        return self.values.build.dtype(var)

    def write(self, var: Any, index: int = 0) -> None:
        """Say which variable an output is: in the type that it is held in, and with its name."""
        tensor = self.node.outputs[index]
        var = self.cast(var, held(tensor.dtype, self.ios))
        if var.op is not None and var.op.op_type != "const" and id(var) not in self.values.named:
            self.values.named.add(id(var))
            var.name = self.values.names.unique(tensor.name)
            if len(var.op.outputs) == 1:
                var.op.name = var.name
        self.values.place(tensor, var)


def _static(tensor: gs.Tensor) -> tuple[int, ...]:
    shape = tensor.shape
    if shape is None or not all(isinstance(size, int | np.integer) for size in shape):
        raise Unsupported(f"the shape of `{tensor.name}` is not fixed: {shape}")
    return tuple(int(size) for size in shape)
