"""What TensorRT's ONNX parser takes: a table of operators, with the forms of them that it refuses.

Each row was tried with the builder of TensorRT for RTX 1.7, which has the parser of TensorRT 10 and 11; operators that
only the latter have, as plugins, are in `PLUGINS`. What is not known to be built is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.backends.tensorrt.quantization import STORED, scales, stored_type
from pruna_ir.backends.tensorrt.run_time import RunTime
from pruna_ir.backends.tensorrt.types import type_name

# Element types of tensors; integers of 8 bits and less stand between Q and DQ only.
TYPES = frozenset({"float32", "float16", "bfloat16", "float64", "int32", "int64", "bool"})
# Axes of a tensor.
_MOST_AXES = 8
# The newest operator set that was tried. The parser reads any, as if its operators were those that it knows.
NEWEST_OPSET = 28
# The oldest with scales for each channel.
_OLDEST_OPSET = 13
# Why not, of a node; nothing if there is no reason.
Check = Callable[[gs.Node, RunTime], str | None]


@dataclass(frozen=True)
class Form:
    """The forms of an operator that are taken.

    `constants` are the inputs that must be constants, `shapes` those that may be computed from shapes as well, `types`
    the element types of its first input (None: all of `TYPES`), `checks` what else there is.
    """

    constants: tuple[int, ...] = ()
    shapes: tuple[int, ...] = ()
    types: frozenset[str] | None = None
    checks: tuple[Check, ...] = ()

    def problem(self, node: gs.Node, run_time: RunTime) -> str | None:
        """Why a node has another form; None if it has not."""
        for index in self.constants:
            if _given(node, index) and not isinstance(node.inputs[index], gs.Constant):
                return f"input {index} must be a constant, and `{node.inputs[index].name}` is computed"
        for index in self.shapes:
            if _given(node, index) and (source := run_time.source(node.inputs[index])) is not None:
                return f"input {index} decides shapes, and depends on the values of `{source}`"
        if self.types is not None and (name := type_name(node.inputs[0])) not in self.types:
            return f"it reads {name}"
        return next(filter(None, (check(node, run_time) for check in self.checks)), None)


def _given(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and not node.inputs[index].is_empty()


def attribute(name: str, *values: object, default: object = None) -> Check:
    """An attribute has one of some values; `default` is what ONNX has where it is left out (else the first one)."""

    def check(node: gs.Node, _: RunTime) -> str | None:
        found = node.attrs.get(name, values[0] if default is None else default)
        return None if found in values else f"{name} is {found}"

    return check


def _no_dilations(node: gs.Node, _: RunTime) -> str | None:
    dilations = list(node.attrs.get("dilations", []))
    return f"its dilations are {dilations}" if any(step != 1 for step in dilations) else None


def _one_output(node: gs.Node, _: RunTime) -> str | None:
    used = [tensor.name for tensor in node.outputs[1:] if tensor.name]
    return f"it has a further output, `{used[0]}`" if used else None


def _broadcast_slope(node: gs.Node, _: RunTime) -> str | None:
    data, slope = (list(tensor.shape or ()) for tensor in node.inputs[:2])
    fits = len(slope) <= len(data) and all(
        size in (1, wanted) for size, wanted in zip(reversed(slope), reversed(data), strict=False)
    )
    return None if fits else f"its slope of shape {slope} does not broadcast to {data}"


def _no_vector(node: gs.Node, _: RunTime) -> str | None:
    first, second = (len(tensor.shape or ()) for tensor in node.inputs[:2])
    return "it multiplies a vector by a stack of matrices" if first == 1 and second > 2 else None


def _whole_chunks(node: gs.Node, _: RunTime) -> str | None:
    if _given(node, 1) or not node.inputs[0].shape:
        return None
    size, parts = node.inputs[0].shape[int(node.attrs.get("axis", 0))], len(node.outputs)
    if not isinstance(size, int) or size % parts == 0 or (parts - 1) * math.ceil(size / parts) <= size:
        return None
    return f"{size} are cut into {parts} parts, of which the last would be empty"


def _modulo_type(node: gs.Node, _: RunTime) -> str | None:
    is_float = type_name(node.inputs[0]).startswith(("float", "bfloat"))
    return (
        "it takes the sign of the divisor (fmod is 0), of floats" if is_float and not node.attrs.get("fmod") else None
    )


def _no_training(node: gs.Node, _: RunTime) -> str | None:
    return "it is in training mode" if _given(node, 2) and np.any(node.inputs[2].values) else None


def _all_axes(node: gs.Node, _: RunTime) -> str | None:
    axes = list(node.attrs.get("axes", []))
    rank = len(node.inputs[0].shape or ())
    return f"its axes are {axes}" if axes and _given(node, 2) and axes != list(range(rank)) else None


_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_NUMBERS = TYPES - {"bool"}
_SIMPLE = Form()
_POOL = Form(types=_FLOATS, checks=(_no_dilations, _one_output))
_REDUCTION = Form(constants=(1,), types=_NUMBERS)
_MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_SCATTER = Form(checks=(attribute("reduction", "none"),))

# Every form of these is taken.
_PLAIN = (
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Cast CastLike Ceil Clip Concat Conv ConvTranspose Cos "
    "Cosh DepthToSpace Div Einsum Elu Equal Erf Exp EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm "
    "GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid "
    "HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax "
    "LpNormalization Max Mean MeanVarianceNormalization Min Mish Mul Neg Not Or Pow RMSNormalization RNN Reciprocal "
    "Relu ReverseSequence RotaryEmbedding Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign "
    "SpaceToDepth Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Transpose Trilu Where Xor"
)
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
OPERATORS: Mapping[str, Form] = {
    **dict.fromkeys(_PLAIN.split(), _SIMPLE),
    **dict.fromkeys(("AveragePool", "MaxPool"), _POOL),
    **{f"Reduce{kind}": _REDUCTION for kind in _REDUCTIONS},
    QUANTIZE: Form(checks=(stored_type, scales)),
    DEQUANTIZE: Form(types=STORED, checks=(stored_type, scales)),
    "BatchNormalization": Form(types=_FLOATS, checks=(attribute("training_mode", 0), _one_output)),
    "Celu": Form(types=frozenset({"float32"})),
    "ConstantOfShape": Form(shapes=(0,), types=frozenset({"int64"})),
    "CumSum": Form(constants=(1,), types=_NUMBERS),
    "Constant": _SIMPLE,
    "Dropout": Form(constants=(2,), checks=(_one_output, _no_training)),
    "Expand": Form(shapes=(1,)),
    "LayerNormalization": Form(types=_FLOATS, checks=(_one_output,)),
    "LpPool": Form(types=_FLOATS, checks=(_no_dilations, attribute("p", 1, 2, default=2))),
    "MatMul": Form(types=_FLOATS, checks=(_no_vector,)),
    "Mod": Form(checks=(_modulo_type,)),
    "OneHot": Form(constants=(1, 2)),
    "PRelu": Form(types=_FLOATS, checks=(_broadcast_slope,)),
    "Pad": Form(shapes=(1, 3)),
    "Range": Form(shapes=(0, 1, 2), types=frozenset({"int32", "int64"})),
    "Reshape": Form(shapes=(1,)),
    "Resize": Form(
        constants=(1, 2),
        shapes=(3,),
        types=_FLOATS,
        checks=(
            attribute("antialias", 0),
            attribute("keep_aspect_ratio_policy", "stretch"),
            attribute("coordinate_transformation_mode", *_MODES),
            _all_axes,
        ),
    ),
    "ScatterElements": _SCATTER,
    "ScatterND": _SCATTER,
    "Slice": Form(shapes=(1, 2, 3, 4)),
    "Split": Form(shapes=(1,), checks=(_whole_chunks,)),
    "Squeeze": Form(constants=(1,)),
    "Tile": Form(shapes=(1,)),
    "TopK": Form(shapes=(1,), types=_NUMBERS),
    "Unsqueeze": Form(constants=(1,)),
}
# What may stand between Q and DQ.
_MOVES = frozenset({"Identity", "Reshape", "Transpose"})
# Operators that TensorRT has as plugins, and TensorRT for RTX has not.
PLUGINS = frozenset({"DeformConv", "NonMaxSuppression", "NonZero", "RoiAlign"})
# What to do about the operators that are refused most.
_INSTEAD = {
    "QLinearConv": "restore-qdq writes it as Q/DQ",
    "QLinearMatMul": "restore-qdq writes it as Q/DQ",
    "DynamicQuantizeLinear": "quantize for TensorRT: -O2 --target tensorrt",
    "ConvInteger": "quantize for TensorRT: -O2 --target tensorrt",
    "MatMulInteger": "quantize for TensorRT: -O2 --target tensorrt",
    "If": "inline-branches removes those whose condition is constant",
    "Loop": "unroll-loops removes those that run a few times",
}
_STANDARD = (None, "", "ai.onnx")


def problem(node: gs.Node, run_time: RunTime) -> tuple[str, str] | None:
    """Why the parser or builder refuses a node, and what to do about it; None if it takes it."""
    if node.domain not in _STANDARD or node.op not in OPERATORS:
        if node.op in PLUGINS:
            return None
        return "TensorRT has no such operator", _INSTEAD.get(node.op, "")
    reason = _strange_tensor(node, run_time) or OPERATORS[node.op].problem(node, run_time)
    return None if reason is None else (reason, "")


def _strange_tensor(node: gs.Node, run_time: RunTime) -> str | None:
    """A tensor of a type or rank that TensorRT has not."""
    tensors = [tensor for tensor in [*node.inputs, *node.outputs] if not tensor.is_empty()]
    for tensor in tensors:
        if tensor.shape is not None and len(tensor.shape) > _MOST_AXES:
            return f"`{tensor.name}` has {len(tensor.shape)} axes, TensorRT at most {_MOST_AXES}"
    if node.op in (QUANTIZE, DEQUANTIZE):
        return None
    return next((reason for tensor in tensors if (reason := _strange_type(tensor, node, run_time))), None)


def _strange_type(tensor: gs.Tensor, node: gs.Node, run_time: RunTime) -> str | None:
    name = type_name(tensor)
    if name in TYPES or (name == "int8" and node.op in _MOVES):
        return None
    if name == "uint8" and node.op == "Cast":
        return f"`{tensor.name}` is uint8 between two nodes" if run_time.between(tensor) else None
    return f"`{tensor.name}` is {name}"


def needed_opset(graph: gs.Graph) -> int:
    """The oldest operator set in which all operators of the graph are what they are in its own."""
    return max((_since(node, graph.opset) for node in graph.nodes), default=_OLDEST_OPSET)


def _since(node: gs.Node, opset: int) -> int:
    """The operator set that gave a node's operator its present form."""
    standard = node.domain in _STANDARD and onnx.defs.has(node.op)
    return max(_OLDEST_OPSET, onnx.defs.get_schema(node.op, opset).since_version if standard else opset)


def _too_new(node: gs.Node, opset: int) -> tuple[str, str] | None:
    if opset <= NEWEST_OPSET or (found := _since(node, opset)) <= NEWEST_OPSET:
        return None
    return f"it is that of opset {found}, and TensorRT knows up to {NEWEST_OPSET}", ""


def refused(graph: gs.Graph) -> list[tuple[gs.Node, str, str]]:
    """All nodes that are refused, with the reason and what to do."""
    run_time = RunTime(graph)
    found = ((node, _too_new(node, graph.opset) or problem(node, run_time)) for node in graph.nodes)
    return [(node, *reason) for node, reason in found if reason is not None]


def plugins(graph: gs.Graph) -> Collection[str]:
    """The operators of the graph that TensorRT for RTX has not."""
    return sorted({node.op for node in graph.nodes if node.op in PLUGINS})
