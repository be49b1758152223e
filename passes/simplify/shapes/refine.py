"""Telling tensors the sizes that follow from what a pass has made constant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs

from pruna_ir.model.conversion import infer_shapes
from pruna_ir.model.copying import copy_graph
from pruna_ir.model.scoping import graphs_of
from pruna_ir.pipeline.rewriter import redirect

if TYPE_CHECKING:
    from pruna_ir.model import Model

# Constants with more elements say nothing about shapes.
_MOST_ELEMENTS = 64


def refine_shapes(model: Model) -> int:
    """Infer the shapes of a model anew, and take over what is known now and was not; the number of tensors.

    Inputs and outputs of the graph stay as they are.
    """
    from pruna_ir.model import Model

    copy = copy_graph(model.graph)
    _empty(copy)
    return _refine(model.graph, infer_shapes(Model(copy).to_proto()).graph)


def _empty(graph: gs.Graph) -> None:
    """Turn large constants into inputs: their values tell no shapes, and take long to write."""
    scopes = graphs_of(graph)
    read = (tensor for scope in scopes for node in scope.nodes for tensor in node.inputs)
    constants = {id(tensor): tensor for tensor in read if isinstance(tensor, gs.Constant)}
    for number, tensor in enumerate(constants.values()):
        if math.prod(tensor.shape) > _MOST_ELEMENTS:
            # Sub-graphs that do not see each other may use the same names.
            place = gs.Variable(f"{tensor.name}\n{number}", tensor.export_dtype, list(tensor.shape))
            redirect(tensor, place)
            graph.inputs.append(place)


def _refine(graph: gs.Graph, proto: onnx.GraphProto) -> int:
    found = {value.name: value.type.tensor_type for value in proto.value_info}
    interface = {id(tensor) for tensor in [*graph.inputs, *graph.outputs]}
    refined = 0
    for node, written in zip(graph.nodes, proto.node, strict=True):
        for tensor in node.outputs:
            if tensor.name in found and id(tensor) not in interface:
                refined += _take_over(tensor, found[tensor.name])
        bodies = {attribute.name: attribute.g for attribute in written.attribute if attribute.HasField("g")}
        for name, body in node.attrs.items():
            if isinstance(body, gs.Graph):
                refined += _refine(body, bodies[name])
    return refined


def _take_over(tensor: gs.Tensor, found: onnx.TypeProto.Tensor) -> bool:
    if not found.HasField("shape"):
        return False
    sizes = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in found.shape.dim]
    before = tensor.shape
    if before is not None and len(before) != len(sizes):
        return False
    merged = sizes if before is None else [_better(*pair) for pair in zip(before, sizes, strict=True)]
    if before is not None and merged == list(before):
        return False
    tensor.shape = merged
    if tensor.dtype is None and found.elem_type:
        tensor.dtype = onnx.helper.tensor_dtype_to_np_dtype(found.elem_type)
    return True


def _better(before: int | str | None, found: int | str | None) -> int | str | None:
    return found if isinstance(found, int) and not isinstance(before, int) else before
