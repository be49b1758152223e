"""Multiply-accumulate operations of one run, by a table from op to function."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import onnx

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import checks, conversion, external
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.runtime.capture import with_outputs, written_tensors
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Shape = tuple[int | str | None, ...]


class _UnknownError(Exception):
    """Why the work of a node cannot be told."""


def count_macs(model: Model) -> int | Unmeasured:
    """MACs of convolutions, matrix products and recurrent layers for one run; see `macs_by_node`."""
    found = macs_by_node(model)
    return found if isinstance(found, Unmeasured) else sum(found.values())


def macs_by_node(model: Model) -> dict[str, int] | Unmeasured:
    """MACs of each node for one run, under the name of its first output; nodes that multiply nothing are left out.

    The batch, that is a symbolic first dimension of an input, counts as 1; an If counts as the branch that costs
    more; elementwise work is not counted. What cannot be told (another symbolic dimension, a Loop whose body
    multiplies, an op without a rule) makes the whole figure unmeasured, with the reason.
    """
    proto = model.to_proto()
    if external.exceeds(proto, external.PROTOBUF_LIMIT):
        return Unmeasured("shapes cannot be inferred above 2 GB")
    _set_batch_to_one(proto.graph)
    # The model states most shapes; what depends on the batch may follow only now that the batch is a number.
    with suppress(_UnknownError):
        return _graph_macs(proto.graph, {})
    inferred = conversion.infer_shapes(proto).graph
    try:
        return _graph_macs(inferred, {})
    except _UnknownError as unknown:
        reason = str(unknown)
    # Inference gives up where a shape is computed (exported padding, say); a run does not.
    try:
        return _graph_macs(inferred, _observed(proto))
    except (_UnknownError, PrunaError):
        return Unmeasured(reason)


def _set_batch_to_one(graph: onnx.GraphProto) -> None:
    """Replace the symbol of each input's first dimension, wherever it stands, so that inference is in numbers."""
    firsts = [value.type.tensor_type.shape.dim[0] for value in graph.input if value.type.tensor_type.shape.dim]
    symbols = {dim.dim_param for dim in firsts if dim.dim_param}
    for dim in firsts:
        if not dim.HasField("dim_value"):
            dim.dim_value = 1
    for scope in checks.graphs(graph):
        for value in [*scope.input, *scope.output, *scope.value_info]:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in symbols:
                    dim.dim_value = 1


def _observed(proto: onnx.ModelProto) -> dict[str, Shape]:
    """The shapes of the main graph's tensors in a run on made-up inputs; none if the inputs leave sizes open."""
    values = proto.graph.input
    if any(not dim.HasField("dim_value") for value in values for dim in value.type.tensor_type.shape.dim):
        return {}
    used = {name for node in proto.graph.node if node.op_type in MACS for name in (*node.input, *node.output)}
    session = Session(with_outputs(proto, [name for name in written_tensors(proto) if name in used]), optimize=False)
    return {name: value.shape for name, value in session.run(random_feeds(session.inputs, seed=0)).items()}


def _graph_macs(graph: onnx.GraphProto, known: dict[str, Shape]) -> dict[str, int]:
    shapes = {**_shapes(graph), **known}
    found = {node.output[0]: _node_macs(node, shapes) for node in graph.node if node.output}
    return {name: macs for name, macs in found.items() if macs}


def _node_macs(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    if bodies:
        inner = [sum(_graph_macs(body, shapes).values()) for body in bodies]
        if node.op_type != "If" and any(inner):
            raise _UnknownError(f"the body of `{_label(node)}` ({node.op_type}) runs an unknown number of times")
        return max(inner)
    if node.op_type in MACS:
        return MACS[node.op_type](node, shapes)
    if node.op_type in _UNCOUNTED or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        raise _UnknownError(f"there is no rule for `{_label(node)}` ({node.op_type})")
    return 0


def _conv(node: onnx.NodeProto, shapes: dict[str, Shape], weight: int = 1) -> int:
    """Every output element is a dot product over one filter [C/group, *kernel]."""
    return _product(node, node.output[0], shapes) * _product(node, node.input[weight], shapes, start=1)


def _conv_transpose(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Every input element is spread over one filter [M/group, *kernel]."""
    return _product(node, node.input[0], shapes) * _product(node, node.input[1], shapes, start=1)


def _matmul(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Every output element is a dot product along the last axis of the first factor."""
    return _product(node, node.output[0], shapes) * _product(node, node.input[0], shapes, start=-1)


def _gemm(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    depth = _product(node, node.input[0], shapes, start=0 if transposed else 1, stop=1 if transposed else 2)
    return _product(node, node.output[0], shapes) * depth


def _recurrent(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Each step multiplies the input by W [directions, gates, input] and the state by R [directions, gates, hidden]."""
    steps = _product(node, node.input[0], shapes, stop=2)
    return steps * (_product(node, node.input[1], shapes) + _product(node, node.input[2], shapes))


MACS: dict[str, Callable[[onnx.NodeProto, dict[str, Shape]], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node, shapes: _conv(node, shapes, weight=3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
_UNCOUNTED = frozenset({"Einsum", "Attention", "DeformConv", "STFT", "DFT"})


def _product(
    node: onnx.NodeProto, name: str, shapes: dict[str, Shape], start: int | None = None, stop: int | None = None
) -> int:
    shape = shapes.get(name)
    if shape is None:
        raise _UnknownError(f"the shape of `{name}` is not known")
    dims = shape[start:stop]
    free = [dim for dim in dims if not isinstance(dim, int)]
    if free:
        what = f"`{free[0]}`" if free[0] else "a dimension"
        raise _UnknownError(f"{what} of `{name}`, which `{_label(node)}` uses, is not a number")
    return math.prod(dim for dim in dims if isinstance(dim, int))


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes: dict[str, Shape] = {
        value.name: tuple(_dim(dim) for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return shapes


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None


def _label(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)
