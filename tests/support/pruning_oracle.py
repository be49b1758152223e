"""What a pruned model must compute: the original with what is removed taken out of every sum, by masks.

A removed channel may hold anything, as long as nothing reads it. So every operator that sums over channels reads them
through a mask of ones and zeros; a mean is over those that are left, and so are the statistics of a normalization. The
table of operators is the oracle's own: nothing that the analysis says of consumers is believed, only its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.analysis.axes.places import Use, key_of
from pruna_ir.model import Model

# Which indices of an axis of an input are removed: (node, input, axis) -> booleans, None for none.
Removed = Callable[[gs.Node, int, int], np.ndarray | None]


def masked(model: Model, removed: Removed) -> Model:
    """A copy of the model that ignores what is removed, its tensors of their old sizes."""
    oracle = model.clone()
    for node in list(oracle.graph.nodes):
        _Masks(oracle.graph, node, removed).apply()
    oracle.graph.cleanup().toposort()
    return oracle


@dataclass
class _Masks:
    """Rewrites one node."""

    graph: gs.Graph
    node: gs.Node
    removed: Removed
    count: int = 0

    def __post_init__(self) -> None:
        self.prefix = f"oracle/{self.node.outputs[0].name}"

    def apply(self) -> None:
        """Put masks in front of the node, or other nodes in its place."""
        op = self.node.op
        if op in SUMS:
            for index, axis in SUMS[op]:
                self._mask_input(index, axis % self._rank(index))
        elif op == "Einsum":
            for axis in self._summed():
                self._mask_input(0, axis)
        elif op == "Gemm":
            self._mask_input(0, 0 if self.node.attrs.get("transA") else 1)
        elif op == "ReduceSum":
            for axis in self._axes():
                self._mask_input(0, axis)
        elif op == "ReduceMean":
            self._mean(self._axes())
        elif op in NORMS:
            first = self.node.attrs.get("axis", -1) % self._rank(0) if op == "LayerNormalization" else 2
            axes = range(first, self._rank(0))
            if self._kept(0, axes) is not None:
                self._normalize(list(axes))

    def _rank(self, index: int) -> int:
        return len(self.node.inputs[index].shape)

    def _axes(self) -> list[int]:
        rank = self._rank(0)
        axes = self.node.attrs.get("axes")
        if axes is None:
            given = self.node.inputs[1] if len(self.node.inputs) > 1 else None
            constant = given.inputs[0].attrs["value"] if given is not None and given.inputs else given
            axes = range(rank) if constant is None else constant.values.tolist()
        return [axis % rank for axis in axes]

    def _summed(self) -> list[int]:
        """The axes of the first operand of an Einsum that are summed over."""
        operands, _, written = self.node.attrs["equation"].replace(" ", "").partition("->")
        first, _, last = operands.split(",")[0].partition("...")
        places = [*enumerate(first), *((self._rank(0) - len(last) + axis, letter) for axis, letter in enumerate(last))]
        return [axis for axis, letter in places if letter not in written]

    def _kept(self, index: int, axes: Sequence[int]) -> np.ndarray | None:
        """Ones and zeros that broadcast over an input; None if nothing is removed from these axes of it."""
        rank, mask = self._rank(index), None
        for axis in axes:
            gone = self.removed(self.node, index, axis)
            if gone is not None and gone.any():
                shape = [len(gone) if other == axis else 1 for other in range(rank)]
                mask = (~gone).reshape(shape) * (1 if mask is None else mask)
        return None if mask is None else np.asarray(mask)

    def _constant(self, values: object, dtype: np.dtype) -> gs.Constant:
        self.count += 1
        return gs.Constant(f"{self.prefix}/k{self.count}", np.asarray(values, dtype))

    def _add(self, op: str, *inputs: gs.Tensor, **attributes: object) -> gs.Variable:
        self.count += 1
        out = gs.Variable(f"{self.prefix}/{self.count}", self.node.inputs[0].dtype)
        self.graph.nodes.append(gs.Node(op, inputs=list(inputs), outputs=[out], attrs=attributes))
        return out

    def _mask_input(self, index: int, axis: int) -> None:
        kept = self._kept(index, [axis])
        if kept is not None:
            tensor = self.node.inputs[index]
            self.node.inputs[index] = self._add("Mul", tensor, self._constant(kept, tensor.dtype))
            self.node.inputs[index].shape = tensor.shape

    def _mean(self, axes: list[int]) -> None:
        """The mean over what is left: that of all, the removed ones zero, times how many more it was divided by."""
        kept = self._kept(0, axes)
        if kept is not None:
            tensor = self.node.inputs[0]
            self.node.inputs[0] = self._add(
                "Mul", tensor, self._constant(kept * (kept.size / kept.sum()), tensor.dtype)
            )

    def _normalize(self, axes: list[int]) -> None:
        """LayerNormalization or InstanceNormalization, by their definition, over what is left."""
        x, scale, *shift = self.node.inputs[:3]
        dtype, keep = x.dtype, self._kept(0, axes)
        assert keep is not None
        weights = self._constant(keep * (keep.size / keep.sum()), dtype)
        reduced = self._constant(axes, np.dtype(np.int64))
        by_input = self.graph.opset >= 18

        def mean(tensor: gs.Tensor) -> gs.Variable:
            weighted = self._add("Mul", tensor, weights)
            return (
                self._add("ReduceMean", weighted, reduced) if by_input else self._add("ReduceMean", weighted, axes=axes)
            )

        centered = self._add("Sub", x, mean(x))
        variance = mean(self._add("Mul", centered, centered))
        epsilon = self._constant(self.node.attrs.get("epsilon", 1e-5), dtype)
        normal = self._add("Div", centered, self._add("Sqrt", self._add("Add", variance, epsilon)))
        if self.node.op == "InstanceNormalization":  # its parameters belong to axis 1
            shape = self._constant([-1, *(1,) * len(axes)], np.dtype(np.int64))
            scale, *shift = (self._add("Reshape", tensor, shape) for tensor in (scale, *shift))
        outputs = list(self.node.outputs)
        self.node.outputs.clear()
        last = self._add("Mul", normal, scale)
        if shift:
            last = self._add("Add", last, shift[0])
        last.inputs[0].outputs = [outputs[0]]


_STATES = ((0, 2), (2, 2))  # the input, and the hidden state by its weight
# Operators that sum products over an axis of an input: one side of the product is enough.
SUMS = {
    "Attention": ((0, -1),),
    "Conv": ((0, 1),),
    "ConvTranspose": ((0, 1),),
    "GRU": _STATES,
    "LSTM": _STATES,
    "MatMul": ((0, -1),),
    "RNN": _STATES,
}
NORMS = ("LayerNormalization", "InstanceNormalization")


def removed_by(analysis: AxisAnalysis, chosen: Mapping[str, Collection[int]]) -> Removed:
    """Where units of an analysis stand that are removed, given by the names of their groups."""
    units = [unit for name, positions in chosen.items() for unit in analysis.group(name).units[list(positions)]]

    def removed(node: gs.Node, index: int, axis: int) -> np.ndarray | None:
        labels = analysis.units(Use(key_of(node), index, axis))
        return None if labels is None else np.isin(labels, units)

    return removed
