"""One QDQ graph that is legal for ONNX Runtime, LiteRT, Core ML and TensorRT.

What TensorRT asks of numbers (zero points of 0, float biases) and LiteRT of scales (equal across joins and movements),
at the ops for which all have an integer kernel; where LiteRT's output has a fixed scale with another zero point, the op
stays in float. Legal everywhere is fast nowhere in particular: with zero points of 0 a Relu does not disappear into the
range behind it, which ONNX Runtime then runs in float.
"""

from __future__ import annotations

from dataclasses import replace

from pruna_ir.targets.coreml import COREML
from pruna_ir.targets.ort_cpu import X86_VNNI
from pruna_ir.targets.target import Company, OpRow, Scales
from pruna_ir.targets.tensorrt import TENSORRT
from pruna_ir.targets.tflite import TFLITE

_TABLES = (TFLITE, COREML, X86_VNNI, TENSORRT)
# From what demands most of scales to what demands least: what meets a demand meets those behind it.
_STRICTEST = (Scales.EQUAL, Scales.MOVED, Scales.UNION, Scales.FREE)


def _row(name: str) -> OpRow:
    """LiteRT's row with the demands of the others: TensorRT lets any op stand between Q/DQ."""
    row = TFLITE.ops[name]
    demands = {table.ops[name].scales for table in _TABLES if name in table.ops}
    strictest = next(scales for scales in _STRICTEST if scales in demands)
    return replace(row, bias=None, scales=strictest, company=Company.BOTH)


_OPS = {
    name: _row(name)
    for name, row in TFLITE.ops.items()
    if name in X86_VNNI.ops and name in COREML.ops and row.fixed is None
}

PORTABLE = replace(
    TENSORRT,
    name="portable",
    description="one graph that ONNX Runtime, LiteRT, Core ML and TensorRT all accept: symmetric int8, float biases",
    ops=_OPS,
    runtime="",
)
