"""The weights of a graph that can be rounded for a target: which they are, on which grids, and who reads them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.layers import Layer, layer_of
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.passes.quantization.insert import weight_scheme
from pruna_ir.passes.quantization.kernel import Kernel, row_of
from pruna_ir.remarks import Reason
from pruna_ir.targets import Target


@dataclass(frozen=True)
class Weight:
    """A constant, its integers' scheme, and the layers that read it: each makes the same matrix of it."""

    tensor: gs.Constant
    scheme: Scheme
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """The name of the constant."""
        return str(self.tensor.name)


def find_weights(
    graph: gs.Graph, target: Target, excluded: Collection[int]
) -> tuple[list[Weight], list[tuple[gs.Node, Reason]]]:
    """The weights that the target has integers for, and for each node whose weight cannot be rounded, the reason.

    Nodes with ids in `excluded` are left out without one.
    """
    outputs = {id(tensor) for tensor in graph.outputs}
    found: dict[int, Weight] = {}
    refused: list[tuple[gs.Node, Reason]] = []
    for node in graph.nodes:
        row = row_of(node, target)
        if id(node) in excluded or row is None or row.weight is None or not node.outputs:
            continue
        kernel = Kernel(node, row, node.outputs[0])
        if kernel.weight is None:
            continue
        weight = _weight(kernel, target)
        earlier = found.get(id(kernel.weight))
        if isinstance(weight, Weight) and earlier is not None:
            weight = _together(earlier, weight)
        if isinstance(weight, Reason):
            refused.append((node, weight))
        else:
            found[id(weight.tensor)] = weight
    for key, weight in list(found.items()):
        if key in outputs or len(weight.tensor.outputs) > len(weight.layers):
            refused.append((weight.tensor.outputs[0], Reason("`{}` has other readers", weight.name)))
            del found[key]
    return list(found.values()), refused


def _weight(kernel: Kernel, target: Target) -> Weight | Reason:
    tensor, layer = kernel.weight, layer_of(kernel.node)
    assert tensor is not None
    if isinstance(layer, Reason):
        return layer
    if tensor.dtype != np.float32:
        return Reason("`{}` holds {}, not float32", tensor.name, np.dtype(tensor.dtype).name)
    scheme = weight_scheme(kernel, target)
    if not scheme.symmetric or scheme.middle != 0:
        return Reason("{} has weights with a zero point", target.name)
    if not tensor.values.size or not np.isfinite(tensor.values).all():
        return Reason("`{}` is empty or not finite", tensor.name)
    return Weight(tensor, scheme, (layer,))


def _together(one: Weight, other: Weight) -> Weight | Reason:
    """One weight that two nodes read; a reason if they do not take the same numbers as one output channel."""
    first, second = one.layers[0], other.layers[0]
    if (first.transposed, first.rows.groups, one.scheme) != (second.transposed, second.rows.groups, other.scheme):
        return Reason("its readers divide `{}` into other channels", one.name)
    return replace(one, layers=one.layers + other.layers)
