"""Where labels stand: names that hold in every clone of a model, since passes work on clones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs


@dataclass(frozen=True, order=True)
class Use:
    """An axis of an input of a node. `node` names what the node writes: its first output that has a name."""

    node: str
    input: int
    axis: int


def key_of(node: gs.Node) -> str:
    """The name that a node goes by in a `Use`: that of its first output that has one."""
    return next(str(tensor.name) for tensor in node.outputs if tensor.name)


def nodes_by_key(graph: gs.Graph) -> dict[str, gs.Node]:
    """The nodes of a graph by the names that a `Use` has for them."""
    return {key_of(node): node for node in graph.nodes if any(tensor.name for tensor in node.outputs)}


def constant_of(tensor: gs.Tensor) -> gs.Constant | None:
    """The constant that a tensor is: an initializer, or what a Constant node writes."""
    if isinstance(tensor, gs.Constant):
        return tensor
    if len(tensor.inputs) != 1 or tensor.inputs[0].op != "Constant":
        return None
    (value,) = tensor.inputs[0].attrs.values()
    return value if isinstance(value, gs.Constant) else gs.Constant(tensor.name, np.array(value, tensor.dtype))
