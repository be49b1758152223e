"""Copying a graph: everything that a pass may change in place is copied, the values of constants are shared.

graphsurgeon's own copy shares the lists of shapes and attributes and the constants in attributes, so that a change
made in place shows in both graphs; it also matches tensors by name and takes a multiple of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.model.scoping import graphs_of

# Tensors already copied, by the identity of the original. Sub-graphs share it: they read tensors of the outer graph.
_Copies = dict[int, gs.Tensor]


def copy_graph(graph: gs.Graph) -> gs.Graph:
    """An independent copy whose constants share their values with the original; those become read-only in both."""
    return _copy_graph(graph, {})


def instantiate(body: gs.Graph, given: Sequence[tuple[gs.Tensor, gs.Tensor]]) -> gs.Graph:
    """A copy of a sub-graph in which other tensors stand for some of its own, its inputs say.

    What it reads of the graphs around it, and its constants, are not copied.
    """
    scopes = graphs_of(body)
    own = {id(tensor) for scope in scopes for node in scope.nodes for tensor in node.outputs}
    own |= {id(tensor) for scope in scopes for tensor in scope.inputs}
    read = (
        tensor
        for scope in scopes
        for held in [scope.outputs, *(node.inputs for node in scope.nodes)]
        for tensor in held
    )
    outside = {id(tensor): tensor for tensor in read if id(tensor) not in own and not tensor.is_empty()}
    return _copy_graph(body, {**outside, **{id(old): new for old, new in given}})


def _copy_graph(graph: gs.Graph, copies: _Copies) -> gs.Graph:
    duplicate = gs.Graph(
        inputs=[_copy_tensor(tensor, copies) for tensor in graph.inputs],
        outputs=[_copy_tensor(tensor, copies) for tensor in graph.outputs],
        name=graph.name,
        doc_string=graph.doc_string,
        opset=graph.opset,
        import_domains=onnx.ModelProto(opset_import=graph.import_domains or []).opset_import,
        producer_name=graph.producer_name,
        producer_version=graph.producer_version,
        functions=graph.functions,
        ir_version=graph.ir_version,
    )
    duplicate.name_idx = graph.name_idx
    duplicate.nodes = [_copy_node(node, copies) for node in graph.nodes]
    return duplicate


def _copy_node(node: gs.Node, copies: _Copies) -> gs.Node:
    attributes = {name: _copy_attribute(value, copies) for name, value in node.attrs.items()}
    duplicate = gs.Node(node.op, node.name, attributes, domain=node.domain)
    # Plain list operations: the lists of graphsurgeon keep each other in step, at a cost that shows.
    for tensor in node.inputs:
        tensor = _copy_tensor(tensor, copies)
        list.append(duplicate.inputs, tensor)
        list.append(tensor.outputs, duplicate)
    for tensor in node.outputs:
        tensor = _copy_tensor(tensor, copies)
        list.append(duplicate.outputs, tensor)
        list.append(tensor.inputs, duplicate)
    return duplicate


def _copy_attribute(value: Any, copies: _Copies) -> Any:
    if isinstance(value, gs.Graph):
        return _copy_graph(value, copies)
    if isinstance(value, gs.Tensor):
        return _copy_tensor(value, copies)
    return list(value) if isinstance(value, list) else value


def _copy_tensor(tensor: gs.Tensor, copies: _Copies) -> gs.Tensor:
    duplicate = copies.get(id(tensor))
    if duplicate is None:
        duplicate = _copy_constant(tensor) if isinstance(tensor, gs.Constant) else _copy_variable(tensor)
        copies[id(tensor)] = duplicate
    return duplicate


def _copy_variable(tensor: gs.Variable) -> gs.Variable:
    shape = None if tensor.shape is None else list(tensor.shape)
    return gs.Variable(tensor.name, tensor.dtype, shape, tensor.type)


def _copy_constant(tensor: gs.Constant) -> gs.Constant:
    values = tensor._values
    if isinstance(values, np.ndarray):
        values.flags.writeable = False
    return gs.Constant(tensor.name, values, tensor.data_location, tensor._export_dtype)
