"""Operators that change shapes and orders of axes, and compute nothing."""

from __future__ import annotations

from pruna_ir.backends.tflite.layout_rules import FOLLOWS, RESHAPES, TRANSPOSES
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import lowers


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze", layout=RESHAPES)
def reshape(op: Op) -> None:
    """RESHAPE: what is stored stays in its order."""
    data = op.read() if op.result_columns() is None else op.read(0, op.lies())
    op.tensors.reshape_into(data, op.write())


@lowers("Transpose", layout=TRANSPOSES)
def transpose(op: Op) -> None:
    """Nothing: another name for what is stored. Whoever reads it in another order moves it."""
    layout = TRANSPOSES.output_layout(op.kernel, 0, op.mode)
    op.tensors.place(op.kernel.outputs[0], layout, op.read())


@lowers("Concat", layout=FOLLOWS)
def concat(op: Op) -> None:
    """CONCATENATION."""
    parts = [op.read(index) for index in range(len(op.kernel.inputs))]
    op.emit("CONCATENATION", [*parts], op.write(), axis=op.axis(op.attr("axis")), fusedActivationFunction="NONE")
