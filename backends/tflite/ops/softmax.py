"""Softmax and its logarithm."""

from __future__ import annotations

from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.axes import from_last, to_last
from pruna_ir.backends.tflite.table import lowers

_CODES = {"Softmax": "SOFTMAX", "LogSoftmax": "LOG_SOFTMAX"}


@lowers(*_CODES, layout=DATA_FOLLOWS)
def softmax(op: Op) -> None:
    """SOFTMAX, LOG_SOFTMAX along the last axis: others are moved there and back."""
    code, options = _CODES[op.node.op], {"beta": 1.0} if op.node.op == "Softmax" else {}
    axis, data = op.axis(int(op.attr("axis", -1))), op.read()
    last = to_last(op, data, axis)
    output = op.write()
    if last is data:
        op.emit(code, [data], output, **options)
        return
    inner = op.tensors.temporary(f"{op.name}/inner", last.shape, output.dtype, output.quantization)
    op.emit(code, [last], inner, **options)
    op.tensors.reshape_into(from_last(op, inner, axis, len(data.shape)), output)
