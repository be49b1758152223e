"""The costs of a model as functions of the widths of its groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import AxisAnalysis, Group, key_of
from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.counting import count_parameters
from pruna_ir.analysis.macs import count_macs, macs_by_node
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation.costs import Cost, Extent, Term

# Where the constant weight of an op stands whose work is proportional to the weight's elements.
_WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2)}


class Costs:
    """Builds costs for one model, whose groups `groups` may be cut; all others have the width that they have."""

    def __init__(self, model: Model, analysis: AxisAnalysis, groups: Iterable[Group]) -> None:
        self._model, self._analysis = model, analysis
        self._sizes: dict[str, int] = {}
        self._group_of: dict[int, str] = {}
        for group in groups:
            self._sizes[group.name] = group.size
            self._group_of.update(dict.fromkeys(group.units.tolist(), group.name))

    def macs(self) -> Cost | Unmeasured:
        """Multiply-accumulate operations of one run."""
        found = macs_by_node(self._model)
        return found if isinstance(found, Unmeasured) else self.of_nodes(found)

    def parameters(self) -> Cost:
        """Elements of constants; one that several nodes read counts once, in parts."""
        return Cost([self._elements(node, index, 1.0 / users) for node, index, users in self._constants()])

    def bytes(self) -> Cost:
        """Bytes of the file: those of constants, and what stays."""
        terms: list[Term] = []
        held = 0.0
        for node, index, users in self._constants():
            constant = node.inputs[index]
            share = np.dtype(constant.dtype).itemsize / users
            terms.append(self._elements(node, index, share))
            held += share * math.prod(constant.shape)
        rest = int(self._model.to_proto().ByteSize()) - held
        return Cost([*terms, Term(max(rest, 0.0))])

    def of_nodes(self, amounts: Mapping[str, float]) -> Cost:
        """An amount (MACs, milliseconds) of each node, by the name of what it writes, that shrinks with its axes."""
        nodes = {key_of(node): node for node in self._model.graph.nodes if any(tensor.name for tensor in node.outputs)}
        terms: list[Term] = []
        for name, amount in amounts.items():
            terms += self._work(nodes[name], amount) if name in nodes else [Term(amount)]
        return Cost(terms)

    def _work(self, node: gs.Node, amount: float) -> Iterator[Term]:
        """What a node does: proportional to its weights, to both operands' axes, or to what it writes."""
        weights = [index for index in _WEIGHTS.get(node.op, ()) if index < len(node.inputs)]
        elements = [
            math.prod(dim for dim in node.inputs[index].shape or () if isinstance(dim, int)) for index in weights
        ]
        for index, size in zip(weights, elements, strict=True):
            yield self._term(amount * size / max(sum(elements), 1), self._axes(node, index))
        if not weights and node.op == "MatMul":
            yield self._term(amount, [*self._axes(node, 0), *self._axes(node, 1)[-1:]])
        elif not weights:
            written = self._analysis.tensors.get(str(node.outputs[0].name), ())
            yield self._term(amount, written)

    def _elements(self, node: gs.Node, index: int, share: float) -> Term:
        return self._term(share * math.prod(node.inputs[index].shape), self._axes(node, index))

    def _axes(self, node: gs.Node, index: int) -> Sequence[Labels]:
        """The units on the axes of an input, a constant or a variable."""
        tensor = node.inputs[index]
        found = self._analysis.inputs.get((key_of(node), index))
        return found if found is not None else self._analysis.tensors.get(str(tensor.name), ())

    def _term(self, amount: float, axes: Iterable[Labels]) -> Term:
        extents = (self._extent(units) for units in axes if units is not None)
        return Term(float(amount), tuple(extent for extent in extents if extent.per_unit))

    def _extent(self, units: np.ndarray) -> Extent:
        """An axis as a share of its length."""
        counts = Counter(self._group_of[unit] for unit in units.tolist() if unit in self._group_of)
        fixed = 1.0 - sum(counts.values()) / len(units)
        return Extent(fixed, {name: count / len(units) / self._sizes[name] for name, count in counts.items()})

    def _constants(self) -> Iterator[tuple[gs.Node, int, int]]:
        """Each use of a constant, and how many uses its values have."""
        uses = [
            (node, index)
            for node in self._model.graph.nodes
            for index, tensor in enumerate(node.inputs)
            if isinstance(tensor, gs.Constant) and any(written.name for written in node.outputs)
        ]
        users = Counter(id(node.inputs[index]._values) for node, index in uses)
        return ((node, index, users[id(node.inputs[index]._values)]) for node, index in uses)


def _bytes(model: Model) -> float:
    return float(model.to_proto().ByteSize())


# What budgets may be of: its cost as a function of widths, and how much of it a model has.
COSTS: dict[str, Callable[[Costs], Cost | Unmeasured]] = {
    "macs": Costs.macs,
    "params": Costs.parameters,
    "bytes": Costs.bytes,
}
WHOLES: dict[str, Callable[[Model], float | Unmeasured]] = {
    "macs": count_macs,
    "params": count_parameters,
    "bytes": _bytes,
}
