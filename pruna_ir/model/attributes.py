"""Attributes of nodes that a `gs.Graph` cannot hold: brought into a form that it can, or refused."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto

from pruna_ir.diagnostics import error
from pruna_ir.model import checks
from pruna_ir.model.sidecar import first_output, is_empty_list
from pruna_ir.model.values import densify

_UNSUPPORTED = frozenset(
    {
        AttributeProto.TENSORS,
        AttributeProto.GRAPHS,
        AttributeProto.SPARSE_TENSOR,
        AttributeProto.SPARSE_TENSORS,
        AttributeProto.TYPE_PROTO,
        AttributeProto.TYPE_PROTOS,
    }
)
_EMPTY_CONSTANTS = {"value_ints": np.int64, "value_floats": np.float32, "value_strings": object}


def normalize_attributes(graph: onnx.GraphProto, place: str) -> None:
    """Write the unusual forms of Constant as dense tensors; M007 for attributes that the IR cannot hold."""
    for scope in checks.graphs(graph):
        for node in scope.node:
            if node.op_type == "Constant":
                _use_tensor(node)
            for attribute in node.attribute:
                _check(attribute, node, place)


def _use_tensor(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.SPARSE_TENSOR:
            values = densify(attribute.sparse_tensor)
        elif is_empty_list(attribute) and attribute.name in _EMPTY_CONSTANTS:
            values = np.empty(0, _EMPTY_CONSTANTS[attribute.name])
        else:
            continue
        attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values)))


def _check(attribute: AttributeProto, node: onnx.NodeProto, place: str) -> None:
    where = f"attribute `{attribute.name}` of `{node.name or first_output(node)}`"
    if attribute.type in _UNSUPPORTED:
        kind = AttributeProto.AttributeType.Name(attribute.type)
        raise error("M007", f"{where} is of the type {kind}", place=place)
    if attribute.type in (AttributeProto.STRING, AttributeProto.STRINGS):
        try:
            for text in [attribute.s, *attribute.strings]:
                text.decode()
        except UnicodeDecodeError:
            raise error("M007", f"{where} is not UTF-8 text", place=place) from None


def drop_empty_lists(graph: onnx.GraphProto) -> None:
    """Remove the attributes that are empty lists; the sidecar puts them back."""
    for scope in checks.graphs(graph):
        for node in scope.node:
            for index in reversed([at for at, attribute in enumerate(node.attribute) if is_empty_list(attribute)]):
                del node.attribute[index]
