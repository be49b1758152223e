"""Layers whose weights and biases can be set: where both are stored, and which tensor they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.layers import Layer, Patches, Vectors, layer_of
from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.remarks import Reason

# Layers whose sums over rows would take more memory than this are not solved: the first one behind a large image.
MOST_BYTES = 1 << 30
# The parts in which rows are summed up.
PARTS = 4


@dataclass(frozen=True)
class Slot:
    """An input of a node, which may not be there yet: `key` names the node by what it writes first."""

    key: str
    position: int


Edits = Mapping[Slot, np.ndarray]


@dataclass(frozen=True)
class Site:
    """A layer with its weight and bias.

    `matrix` [groups, outputs, width] and `bias` [groups, outputs] are what they are at first, in float64; `weight_slot`
    and `bias_slot` where they are stored. Without a bias slot there is no place for a bias, and `bias` is zero.
    `written` names the tensor that has the bias in it, `axis` is that of its vectors where the layer is no convolution.
    """

    layer: Layer
    matrix: np.ndarray
    bias: np.ndarray
    weight_slot: Slot
    bias_slot: Slot | None
    written: str
    axis: int
    dtype: np.dtype

    @property
    def key(self) -> str:
        """The layer's key."""
        return self.layer.key

    def rows(self, values: np.ndarray, number: int, most: int) -> np.ndarray:
        """What the layer reads as rows [groups, rows, width]."""
        return self.layer.rows.of(values, number, most)

    def outputs(self, values: np.ndarray, number: int, most: int) -> np.ndarray:
        """What it writes, or a tensor of that shape, as [groups, rows, outputs]: those of the same `rows`."""
        rows = self.layer.rows
        return rows.written(values, number, most) if isinstance(rows, Patches) else self._vectors(values, number, most)

    def _vectors(self, values: np.ndarray, number: int, most: int) -> np.ndarray:
        return Vectors(self.axis).of(values, number, most)

    def edits(self, matrix: np.ndarray, bias: np.ndarray) -> dict[Slot, np.ndarray]:
        """The constants that hold these weights and this bias."""
        found = {self.weight_slot: np.ascontiguousarray(self.layer.unfold(matrix), self.dtype)}
        if self.bias_slot is not None:
            found[self.bias_slot] = bias.reshape(-1).astype(self.dtype)
        return found


def site_of(node: gs.Node) -> Site | Reason:
    """The site that a node is, or why it cannot be solved: no layer, too wide, factors, a computed bias."""
    layer = layer_of(node)
    if isinstance(layer, Reason):
        return layer
    weight = node.inputs[layer.weight]
    reason = not_foldable([weight])
    if reason is not None:
        return reason
    if node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0:
        return Reason("{} has factors", node.op)
    if 8 * PARTS * layer.rows.groups * layer.width**2 > MOST_BYTES:
        return Reason("its rows of {} columns would take too much memory", layer.width)
    matrix = layer.matrix(weight.values.astype(np.float64))
    found = _matmul_bias(node, layer) if node.op == "MatMul" else _own_bias(node, matrix)
    if isinstance(found, Reason):
        return found
    slot, bias, written = found
    axis = -1 if node.op == "Gemm" or isinstance(layer.rows, Patches) else layer.rows.axis
    dtype = np.dtype(weight.dtype)
    return Site(layer, matrix, _shaped(bias, matrix), Slot(layer.key, layer.weight), slot, written, axis, dtype)


_Bias = tuple[Slot | None, np.ndarray, str]


def _own_bias(node: gs.Node, matrix: np.ndarray) -> _Bias | Reason:
    """The bias of a Conv or Gemm: its third input, which it may lack."""
    key = str(node.outputs[0].name)
    slot = Slot(key, 2)
    if len(node.inputs) <= 2 or node.inputs[2].is_empty():
        return slot, np.zeros(()), key
    bias = node.inputs[2]
    reason = not_foldable([bias])
    if reason is not None:
        return reason
    outputs = matrix.shape[0] * matrix.shape[1]
    if bias.shape and (bias.shape[-1] not in (1, outputs) or bias.values.size != bias.shape[-1]):
        return Reason("`{}` is no bias of {} channels", bias.name, outputs)
    return slot, bias.values.astype(np.float64), key


def _matmul_bias(node: gs.Node, layer: Layer) -> _Bias:
    """The bias of a MatMul: the vector that the only node behind it adds."""
    written = node.outputs[0]
    none = None, np.zeros(()), str(written.name)
    if layer.weight != 1 or len(written.outputs) != 1 or written.outputs[0].op != "Add":
        return none
    add = written.outputs[0]
    position = 1 if add.inputs[0] is written else 0
    bias = add.inputs[position]
    outputs = layer.shape[1]
    if not isinstance(bias, gs.Constant) or not_foldable([bias]) is not None:
        return none
    if not bias.shape or bias.shape[-1] != outputs or bias.values.size != outputs or len(bias.shape) > 1:
        return none
    return Slot(str(add.outputs[0].name), position), bias.values.astype(np.float64), str(add.outputs[0].name)


def _shaped(bias: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    groups, outputs = matrix.shape[:2]
    return np.broadcast_to(bias.reshape(-1), groups * outputs).reshape(groups, outputs).copy()


def sites_in(graph: gs.Graph) -> dict[str, Site]:
    """Every site of the main graph, by key, in order."""
    found = (site_of(node) for node in graph.nodes if node.outputs)
    return {site.key: site for site in found if isinstance(site, Site)}
