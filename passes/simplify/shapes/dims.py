"""What shapes follow from what shapes: a table from operator to a function on lists of dimensions.

ONNX's own inference forgets that two unknown dimensions are equal; here a dimension is an expression of the axes that
it comes from. Names of symbolic dimensions prove nothing: some exporters give every unknown dimension the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes import moves, results
from pruna_ir.passes.simplify.shapes.inputs import Dims, Inputs, broadcast, data


def infer(node: gs.Node, inputs: Inputs) -> Dims | None:
    """The dimensions of a node's first output; None if they cannot be told."""
    function = _TABLE.get(node.op)
    if function is None or not inputs.dims or inputs.dims[0] is None:
        return None
    try:
        return function(node, inputs)
    except (IndexError, ValueError, TypeError, ZeroDivisionError, KeyError):
        return None  # not valid ONNX, or something that must be known is not


def _same(_: gs.Node, inputs: Inputs) -> Dims:
    return data(inputs)


def _broadcast(_: gs.Node, inputs: Inputs) -> Dims | None:
    return broadcast(inputs.dims)


def _rank(_: gs.Node, inputs: Inputs) -> Dims:
    return [len(data(inputs))]


def _scalar(_: gs.Node, inputs: Inputs) -> Dims:
    return []


_Function = Callable[[gs.Node, Inputs], Dims | None]
# fmt: off
_SAME = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot", "Cast", "CastLike",
    "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumSum", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf",
    "IsNaN", "LRN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu", "QuantizeLinear", "RMSNormalization", "Reciprocal",
    "Relu", "RotaryEmbedding", "Round", "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin",
    "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu",
)
_BROADCAST = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
)
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)
# fmt: on

_TABLE: Mapping[str, _Function] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(_REDUCTIONS, results.reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), results.arg_reduction),
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), results.pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"), results.global_pooling),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), results.recurrent),
    "Concat": moves.concat,
    "ConstantOfShape": results.constant_of_shape,
    "Conv": results.convolution,
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Gather": moves.gather,
    "Gemm": results.gemm,
    "MatMul": results.matmul,
    "Pad": moves.pad,
    "Range": results.range_,
    "Reshape": moves.reshape,
    "Resize": results.resize,
    "Shape": _rank,
    "Size": _scalar,
    "Slice": moves.slice_,
    "Squeeze": moves.squeeze,
    "Tile": moves.tile,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
}
