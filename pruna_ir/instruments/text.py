"""A model as lines of text that people read and `diff` compares: large weights are shown by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pruna_ir.model import checks

if TYPE_CHECKING:
    from pruna_ir.model import Model

# Constants with more values than this are not written out.
SHOWN_VALUES = 16


def lines(model: Model) -> list[str]:
    """The signature, one line for each constant, then the nodes in ONNX's own syntax, those of sub-graphs indented."""
    proto = model.to_proto()
    graph = proto.graph
    text = [_signature(graph)]
    text += [f"  {_constant(tensor)}" for tensor in graph.initializer]
    for node in graph.node:
        text += [f"  {line}" for line in _node(node)]
    return text


def _signature(graph: onnx.GraphProto) -> str:
    bare = onnx.GraphProto(name=graph.name or "model", input=graph.input, output=graph.output)
    return str(onnx.printer.to_text(bare)).splitlines()[0].rstrip("{ ")


def _node(node: onnx.NodeProto) -> list[str]:
    for tensor in _held(node):
        _abbreviate(tensor)
    return str(onnx.printer.to_text(node)).strip().splitlines()


def _held(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    """The tensors that a node holds itself: in attributes, and in the sub-graphs of attributes."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
    for body in checks.bodies(node):
        yield from body.initializer
        for child in body.node:
            yield from _held(child)


def _abbreviate(tensor: onnx.TensorProto) -> None:
    """Replace many values by their hash, which goes to the end of the tensor's name: the syntax has no comments."""
    values = onnx.numpy_helper.to_array(tensor)
    if values.size <= SHOWN_VALUES:
        return
    short = onnx.TensorProto(name=f"{tensor.name}#{_hash(values)}", data_type=tensor.data_type, dims=tensor.dims)
    tensor.CopyFrom(short)


def _constant(tensor: onnx.TensorProto) -> str:
    values = onnx.numpy_helper.to_array(tensor)
    kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    dims = ",".join(map(str, tensor.dims))
    if values.size <= SHOWN_VALUES:
        shown = ", ".join(_number(value) for value in values.reshape(-1).tolist())
    else:
        shown = f"{values.size} values, hash {_hash(values)}"
    return f"{kind}[{dims}] {tensor.name} = {{{shown}}}"


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:8]


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
