"""What a rule sees of the graph: the axes of one node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels, LabelTable
from pruna_ir.analysis.axes.places import Use, constant_of, key_of
from pruna_ir.model.invariants import node_name
from pruna_ir.remarks import Reason

Axes = tuple[Labels, ...]


@dataclass(frozen=True)
class Options:
    """Choices of the analysis.

    `split` says which factor is cut where a Reshape splits an axis into several: the innermost that is free (part of
    every head, of every shuffled group) or the outermost (whole heads).
    """

    split: Literal["inner", "outer"] = "inner"


@dataclass
class State:
    """Everything the rules have said so far."""

    options: Options
    table: LabelTable = field(default_factory=LabelTable)
    uses: dict[tuple[str, int], Axes] = field(default_factory=dict)
    tensors: dict[str, Axes] = field(default_factory=dict)
    # Variables that are computed from constants alone: weights behind a Transpose or a DequantizeLinear.
    weights: set[str] = field(default_factory=set)
    producers: list[Use] = field(default_factory=list)
    consumers: list[Use] = field(default_factory=list)
    reduced: list[tuple[str, np.ndarray]] = field(default_factory=list)


class NodeAxes:
    """The axes of a node's inputs and outputs.

    Axes of size 1 have no labels, and neither have symbolic ones. Constants that a rule does not read get none; other
    inputs that it does not read are never cut.
    """

    def __init__(self, node: gs.Node, state: State) -> None:
        self.node = node
        self._state = state
        self._key = key_of(node)
        # Inputs whose labels the rule has asked for. Those of the others stay.
        self.read: set[int] = set()

    @property
    def options(self) -> Options:
        """The choices of the analysis."""
        return self._state.options

    # Reading

    def has(self, index: int) -> bool:
        """Whether the node has this input; optional ones may be left out."""
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def shape(self, index: int) -> tuple[int | str | None, ...]:
        """The shape of an input: numbers, names or None. Rules run only where all ranks are known."""
        tensor = self.node.inputs[index]
        if tensor.shape is not None:
            return tuple(tensor.shape)
        return tuple(None if labels is None else len(labels) for labels in self._state.tensors[tensor.name])

    def output_shape(self, index: int = 0) -> tuple[int | str | None, ...] | None:
        """The shape of an output, None if its rank is not known."""
        shape = self.node.outputs[index].shape
        return None if shape is None else tuple(shape)

    def constant(self, index: int) -> np.ndarray | None:
        """The values of an input that is a constant; None for others and for inputs that are left out."""
        constant = constant_of(self.node.inputs[index]) if self.has(index) else None
        return None if constant is None else np.asarray(constant.values)

    def is_weight(self, index: int) -> bool:
        """Whether an input is a constant, or computed from constants alone."""
        tensor = self.node.inputs[index]
        return constant_of(tensor) is not None or tensor.name in self._state.weights

    def input(self, index: int) -> Axes:
        """The labels of the axes of an input. Each use of a constant has labels of its own."""
        tensor = self.node.inputs[index]
        self.read.add(index)
        if constant_of(tensor) is None:
            return self._state.tensors[tensor.name]
        place = (self._key, index)
        if place not in self._state.uses:
            self._state.uses[place] = tuple(self.fresh(size) for size in tensor.shape)
        return self._state.uses[place]

    def output(self, index: int = 0) -> Axes:
        """The labels of the axes of an output, once written: for `settle`."""
        return self._state.tensors[self.node.outputs[index].name]

    # Saying

    def fresh(self, size: int) -> Labels:
        """New labels, which may be cut if nothing is said against it; none for an axis of less than 2 indices."""
        return None if size < 2 else self._state.table.fresh(size)

    def fixed(self, size: int, reason: Reason | str) -> np.ndarray:
        """New labels that are protected."""
        labels = self._state.table.fresh(size)
        self.protect(labels, reason)
        return labels

    def equate(self, first: Labels, second: Labels) -> None:
        """Two axes, or arrays of labels that broadcast, go together.

        Where one side has no labels the other stays, and where their sizes differ both stay.
        """
        why = "ties it to an axis that is never cut"
        if first is not None and second is not None:
            if _broadcast(first, second):
                self._state.table.equate(first, second)
                return
            why = "ties axes of different sizes"
        self.protect(first, self.reason(why))
        self.protect(second, self.reason(why))

    def protect(self, labels: Labels, reason: Reason | str) -> None:
        """Labels stay, for a reason that users read."""
        if labels is not None:
            self._state.table.protect(labels, reason)

    def is_protected(self, labels: np.ndarray) -> np.ndarray:
        """Which labels are protected by what has been said so far, booleans: for `settle`."""
        return self._state.table.is_protected(labels)

    def reason(self, why: str) -> Reason:
        """A reason that names the node: `why` continues "`conv_3` (Conv) ..."."""
        return Reason("`{}` ({}) {}", node_name(self.node), self.node.op, why)

    def write(self, axes: Sequence[Labels], index: int = 0) -> None:
        """The labels of the axes of an output. An axis of one index keeps it."""
        kept = self.reason("takes this index by itself")
        written: list[Labels] = []
        for labels in axes:
            if labels is not None and len(labels) < 2:
                self.protect(labels, kept)
                labels = None
            written.append(labels)
        self._state.tensors[self.node.outputs[index].name] = tuple(written)

    # Roles

    def produce(self, index: int, axis: int) -> None:
        """The axis of a weight makes an axis of the output: its labels are what a group is about."""
        self._state.producers.append(Use(self._key, index, axis))

    def contract(self, *axes: tuple[int, int]) -> None:
        """The node sums products over these axes of operands, (input, axis): those of weights are what counts.

        An index whose slice of a weight is zero is as good as cut.
        """
        weights = [(index, axis) for index, axis in axes if self.is_weight(index)]
        self._state.consumers += [Use(self._key, index, axis) for index, axis in weights or axes]

    def reduce(self, labels: Labels) -> None:
        """The node computes something over these labels (a mean, a norm, a softmax) that changes when they are cut."""
        if labels is not None:
            self._state.reduced.append((node_name(self.node), labels))


def _broadcast(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the shapes of two arrays go together."""
    sizes = zip(reversed(first.shape), reversed(second.shape), strict=False)
    return all(one == other or 1 in (one, other) for one, other in sizes)
