"""Bringing what onnxsim returns back into the form of the model that it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from pruna_ir.model.sidecar import first_output

if TYPE_CHECKING:
    from pruna_ir.model import Model


def adapt(simplified: onnx.ModelProto, original: onnx.ModelProto, model: Model) -> bool:
    """Give the result the original's interface, header and names; False if the interface differs in substance."""
    for mine, theirs in (
        (original.graph.input, simplified.graph.input),
        (original.graph.output, simplified.graph.output),
    ):
        if [_interface(value) for value in mine] != [_interface(value) for value in theirs]:
            return False
        del theirs[:]
        theirs.extend(mine)
    if _opsets(original) != _opsets(simplified):
        return False
    del simplified.metadata_props[:]
    del simplified.opset_import[:]
    simplified.opset_import.extend(original.opset_import)
    # onnxsim names nodes that have no name.
    nameless = {first_output(node) for node in original.graph.node if not node.name}
    for node in simplified.graph.node:
        if first_output(node) in nameless:
            node.ClearField("name")
    model.sidecar.restore(simplified)
    model.sidecar.strip_types(simplified)
    return True


def _interface(value: onnx.ValueInfoProto) -> tuple[str, int]:
    return value.name, value.type.tensor_type.elem_type


def _opsets(proto: onnx.ModelProto) -> dict[str, int]:
    return {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}


def same_graph(first: onnx.GraphProto, second: onnx.GraphProto) -> bool:
    """Whether two graphs have the same nodes, in order, and constants of the same names."""
    names = [{tensor.name for tensor in graph.initializer} for graph in (first, second)]
    return (
        names[0] == names[1] and len(first.node) == len(second.node) and all(map(_same_node, first.node, second.node))
    )


def _same_node(first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    """Whether two nodes differ in nothing but the order of their attributes and in empty trailing outputs."""
    if (first.op_type, list(first.input), list(first.output)) != (
        second.op_type,
        list(second.input),
        list(second.output),
    ):
        return False
    attributes = [{item.name: item.SerializeToString() for item in node.attribute} for node in (first, second)]
    return attributes[0] == attributes[1]
