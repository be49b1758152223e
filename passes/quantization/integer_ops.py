"""The operators in which ONNX, and ONNX Runtime beside it, write integer kernels: what each computes, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class IntegerOp:
    """An operator on integers with the float operator `op` in it.

    `operands` are the positions of its inputs that have a scale and a zero point right behind them; `output` is the
    position of the scale of what it writes, with the zero point behind it (None: all inputs behind the first two are
    operands, and those two are the output's). `weight` is the operand that is constant, with its scales along
    `weight_axis`; `bias` the position of 32-bit integers in units of the product of the first two operands' scales.
    `drops` are attributes that the float operator lacks, with the values that they must have (None: any).
    """

    op: str
    operands: tuple[int, ...] = ()
    output: int | None = None
    weight: int | None = None
    weight_axis: int = 0
    bias: int | None = None
    drops: Mapping[str, Any] = field(default_factory=dict)


def _unary(op: str, **drops: Any) -> IntegerOp:
    return IntegerOp(op, (0,), 3, drops=drops)


_OPS = {
    ("", "QLinearConv"): IntegerOp("Conv", (0, 3), 6, weight=3, bias=8),
    ("", "QLinearMatMul"): IntegerOp("MatMul", (0, 3), 6, weight_axis=-1),
    ("com.microsoft", "QGemm"): IntegerOp("Gemm", (0, 3), 7, weight=3, weight_axis=1, bias=6),
    ("com.microsoft", "QLinearAdd"): IntegerOp("Add", (0, 3), 6),
    ("com.microsoft", "QLinearMul"): IntegerOp("Mul", (0, 3), 6),
    ("com.microsoft", "QLinearConcat"): IntegerOp("Concat"),
    ("com.microsoft", "QLinearSigmoid"): _unary("Sigmoid"),
    ("com.microsoft", "QLinearLeakyRelu"): _unary("LeakyRelu"),
    ("com.microsoft", "QLinearSoftmax"): _unary("Softmax", opset=None),
    ("com.microsoft", "QLinearAveragePool"): _unary("AveragePool", channels_last=0),
    ("com.microsoft", "QLinearGlobalAveragePool"): _unary("GlobalAveragePool", channels_last=0),
}
# Operators that only move values, and run on integers as they are.
MOVES = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Slice", "DepthToSpace"})
# Scales that are computed at run time have no Q/DQ form with constants.
DYNAMIC = frozenset({"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})


def integer_op(node: gs.Node) -> IntegerOp | None:
    """The row for a node, if it is an operator on integers."""
    return _OPS.get((node.domain if node.domain not in (None, "ai.onnx") else "", node.op))
