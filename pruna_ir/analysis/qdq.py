"""Reading QuantizeLinear / DequantizeLinear out of a graph, whichever tool has put them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.remarks import Reason

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Operators that compute in integers themselves, not as float operators between Q/DQ; and all that begin with QLinear.
INTEGER_OPS = frozenset(
    {"QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"}
)
_DEFAULT_AXIS = 1


@dataclass(frozen=True)
class Pair:
    """An activation that is stored in integers: `source` -> `quantize` -> `dequantize` -> result.

    An integer tensor that several DequantizeLinear nodes read makes as many pairs.
    """

    quantize: gs.Node
    dequantize: gs.Node

    @property
    def source(self) -> gs.Tensor:
        """The tensor before rounding."""
        return self.quantize.inputs[0]

    @property
    def integers(self) -> gs.Tensor:
        """The tensor in integers."""
        return self.quantize.outputs[0]

    @property
    def result(self) -> gs.Tensor:
        """The tensor after rounding, in float."""
        return self.dequantize.outputs[0]


@dataclass(frozen=True)
class Stored:
    """A constant that is stored in integers: `constant` -> `dequantize` -> result."""

    constant: gs.Constant
    dequantize: gs.Node

    def values(self) -> np.ndarray:
        """What it stands for, in float32."""
        params = params_of(self.dequantize)
        assert params is not None
        scale, zero_point = params.broadcast(self.constant.values.ndim)
        return np.asarray((self.constant.values.astype(np.int64) - zero_point).astype(np.float32) * scale)


def pairs(graph: gs.Graph) -> Iterator[Pair]:
    """The pairs of a graph, in its order; sub-graphs are not looked into."""
    own = {id(node) for node in graph.nodes}
    for node in graph.nodes:
        if node.op == QUANTIZE and not isinstance(node.inputs[0], gs.Constant):
            readers = {id(reader): reader for reader in node.outputs[0].outputs}.values()
            yield from (Pair(node, reader) for reader in readers if reader.op == DEQUANTIZE and id(reader) in own)


def quantized_already(graph: gs.Graph) -> Reason | None:
    """What of a graph is in integers, in numbers, if anything is."""
    number = len(list(pairs(graph)))
    operators = sum(node.op in INTEGER_OPS or node.op.startswith("QLinear") for node in graph.nodes)
    if not number and not operators:
        return None
    return Reason("{} Q/DQ pairs and {} operators on integers", number, operators)


def stored(tensor: gs.Tensor) -> Stored | None:
    """The integer constant behind a tensor, if a DequantizeLinear of one with constant parameters writes it."""
    writer = writer_of(tensor)
    if writer is None or writer.op != DEQUANTIZE or not isinstance(writer.inputs[0], gs.Constant):
        return None
    return Stored(writer.inputs[0], writer) if params_of(writer) is not None else None


def params_of(node: gs.Node) -> QuantParams | None:
    """Scale and zero point of a Q or DQ node; None if they are computed, for blocks of values, or for no integers.

    A zero point that is left out is zero, of the integers' type: uint8 where a QuantizeLinear does not say.
    """
    scale = node.inputs[1]
    if not isinstance(scale, gs.Constant) or node.attrs.get("block_size", 0):
        return None
    values = np.asarray(scale.values)
    zero_point = node.inputs[2] if len(node.inputs) > 2 and not node.inputs[2].is_empty() else None
    if zero_point is None:
        zeros = np.zeros(values.shape, _integers(node))
    elif isinstance(zero_point, gs.Constant):
        zeros = np.asarray(zero_point.values)
    else:
        return None
    if not _is_integer(zeros.dtype):
        return None
    if values.size == 1:  # exporters write one number as a list of one, too
        return QuantParams(values.reshape(()), zeros.reshape(()))
    return QuantParams(values, zeros, int(node.attrs.get("axis", _DEFAULT_AXIS)))


def _is_integer(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" or dtype.name in ("int4", "uint4", "int2", "uint2")


def integer_limits(dtype: np.dtype) -> tuple[int, int]:
    """The lowest and highest number of an integer type, of those that NumPy lacks too."""
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)


def round_trip(values: np.ndarray, params: QuantParams) -> np.ndarray:
    """What is left of float values after a pair with these parameters (one scale), in the scale's float type."""
    low, high = integer_limits(params.zero_point.dtype)
    zero = int(params.zero_point)
    return np.asarray(np.clip(np.rint(values / params.scale), low - zero, high - zero) * params.scale)


def writer_of(tensor: gs.Tensor) -> gs.Node | None:
    """The node that writes a tensor."""
    return tensor.inputs[0] if tensor.inputs else None


def _integers(node: gs.Node) -> np.dtype:
    tensor = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
    return np.dtype(np.uint8 if tensor.dtype is None else tensor.dtype)
