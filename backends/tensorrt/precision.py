"""What each product of a network is meant to be computed in: what precision.json says, and the build log is held to."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, writer_of
from pruna_ir.backends.tensorrt.types import type_name
from pruna_ir.model.invariants import node_name

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Types in TensorRT's and everybody else's words, by ONNX's.
_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8", "uint8": "int8"}


@dataclass(frozen=True)
class Layer:
    """A product and its precision: `int8` and `fp8` with both operands rounded, `int8-weights` with one, or a float."""

    node: str
    op: str
    precision: str

    def to_json(self) -> dict[str, str]:
        """As it stands in precision.json."""
        return asdict(self)


def layers(graph: gs.Graph) -> list[Layer]:
    """All products of the graph, in its order; sub-graphs are not looked into."""
    return [Layer(node_name(node), node.op, _precision(node)) for node in graph.nodes if node.op in PRODUCTS]


def _precision(node: gs.Node) -> str:
    first, second = (_stored_type(tensor) for tensor in node.inputs[:2])
    if first is not None and second is not None:
        return first
    one = first or second
    return f"{one}-weights" if one is not None else _type_name(node.outputs[0])


def _stored_type(tensor: gs.Tensor) -> str | None:
    """The type of the integers (or 8-bit floats) that a DequantizeLinear makes the tensor from."""
    writer = writer_of(tensor)
    while writer is not None and writer.op in ("Transpose", "Reshape"):
        writer = writer_of(writer.inputs[0])
    return _type_name(writer.inputs[0]) if writer is not None and writer.op == DEQUANTIZE else None


def _type_name(tensor: gs.Tensor) -> str:
    name = type_name(tensor)
    return _NAMES.get(name, name)
