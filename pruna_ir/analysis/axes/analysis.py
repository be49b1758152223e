"""The axis analysis: which indices of which axes of a graph's tensors must be removed together.

Every index of an axis has a label; each operator's rule says which labels of its inputs and outputs go together, and
union-find over labels gives the units that can be removed. The idea is that of DepGraph (Fang et al., 2023) and SPA
(Wang et al., 2024), on labels of indices instead of layers: Concat, Split, Reshape and shuffles become operations on
arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.groups import Group, Roles, build_groups
from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import Axes, NodeAxes, Options, State
from pruna_ir.analysis.axes.places import Use, constant_of, key_of
from pruna_ir.analysis.axes.rules import rule_of
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import bodies_of, nodes_inside
from pruna_ir.remarks import Reason

# Units to remove, by the name of their group: positions in `Group.units`.
Removed = Mapping[str, Collection[int]]


@dataclass(frozen=True, eq=False)
class AxisAnalysis:
    """The units of a graph, and where they stand.

    It names nodes and tensors, and so holds for clones of the model too. Units are numbered over the whole graph,
    from 0 to `size` - 1.
    `inputs` are the axes of the inputs of nodes, by the node's first output and the position, `tensors` those of
    variables, by name; an axis is an array with the unit of each index, or None if it is never cut.
    """

    groups: tuple[Group, ...]
    size: int
    inputs: Mapping[tuple[str, int], Axes]
    tensors: Mapping[str, Axes]

    @property
    def free(self) -> tuple[Group, ...]:
        """The groups that may be cut."""
        return tuple(group for group in self.groups if group.protected is None)

    def group(self, name: str) -> Group:
        """The group of that name."""
        return next(group for group in self.groups if group.name == name)

    def units(self, use: Use) -> Labels:
        """The unit of each index of an axis of a node's input, a constant or not; None if it is never cut."""
        axes = self.inputs.get((use.node, use.input))
        return None if axes is None else axes[use.axis]

    def positions(self, group: Group, use: Use) -> np.ndarray:
        """Where the units of a group stand on an axis of one of its uses: indices [size, times], in order."""
        units = self.units(use)
        if units is None:
            return np.empty((group.size, 0), np.int64)
        places = np.flatnonzero(np.isin(units, group.units))
        order = np.argsort(np.searchsorted(group.units, units[places]), kind="stable")
        return places[order].reshape(group.size, -1)

    def gone(self, removed: Removed) -> np.ndarray:
        """Which units are to go, booleans [units].

        Raises ValueError for units of a protected group and for what would leave a group, or an axis, without any;
        KeyError for a name that is no group.
        """
        groups = {group.name: group for group in self.groups}
        gone = np.zeros(self.size, bool)
        for name, positions in removed.items():
            group, chosen = groups[name], list(set(positions))
            if chosen and group.protected is not None:
                raise ValueError(f"`{name}` is protected: {group.protected}")
            if chosen and len(chosen) >= group.size:
                raise ValueError(f"`{name}` would lose all of its {group.size} units")
            gone[group.units[chosen]] = True
        for place, axes in (*self.inputs.items(), *self.tensors.items()):
            if any(units is not None and units.size and gone[units].all() for units in axes):
                raise ValueError(f"nothing would be left of an axis of `{place}`")
        return gone

    def without(self, removed: Removed) -> AxisAnalysis:
        """What the analysis is after these units have been removed from the model: groups keep their names."""
        gone = self.gone(removed)

        def shorten(axes: Axes) -> Axes:
            return tuple(units if units is None else units[~gone[units]] for units in axes)

        groups = tuple(replace(group, units=group.units[~gone[group.units]]) for group in self.groups)
        inputs = {place: shorten(axes) for place, axes in self.inputs.items()}
        tensors = {name: shorten(axes) for name, axes in self.tensors.items()}
        return replace(self, groups=groups, inputs=inputs, tensors=tensors)


def analyze(model: Model, options: Options | None = None) -> AxisAnalysis:
    """The axes of the outermost graph of a model. Bodies of control flow are barriers."""
    return summarize(model, label_axes(model, options or Options()))


def label_axes(model: Model, options: Options) -> State:
    """Labels for all axes, and what the rules say of them."""
    state = State(options)
    for tensor in model.graph.inputs:
        _fix(tensor, Reason("`{}` is an input of the graph", tensor.name), state)
    related = [node for node in _nodes(model) if _relate(node, state)]
    for tensor in model.graph.outputs:
        _protect(state.tensors.get(tensor.name, ()), Reason("`{}` is an output of the graph", tensor.name), state)
    for node in related:
        settle = rule_of(node).settle
        if settle is not None:
            settle(NodeAxes(node, state))
    return state


def _nodes(model: Model) -> list[gs.Node]:
    """The nodes that have axes; what Constant nodes write is a constant of those that read it."""
    return [node for node in model.graph.nodes if node.op != "Constant" and any(out.name for out in node.outputs)]


def _relate(node: gs.Node, state: State) -> bool:
    """Apply the rule of a node; False if it refuses, and all that the node touches is protected."""
    at = NodeAxes(node, state)
    refusal = _unknown_input(at, state) or rule_of(node).relate(at) or _disagreement(at, state)
    if refusal is None:
        for index in {*range(len(node.inputs))} - at.read:
            _protect(state.tensors.get(node.inputs[index].name, ()), at.reason("reads it as a whole"), state)
        if node.inputs and all(at.is_weight(index) for index in range(len(node.inputs)) if at.has(index)):
            state.weights.update(tensor.name for tensor in node.outputs)
        return True
    read = [node.inputs, *(body.outputs for body in bodies_of(node)), *(inner.inputs for inner in nodes_inside(node))]
    for tensor in (tensor for tensors in read for tensor in tensors):
        _protect(state.tensors.get(tensor.name, ()), refusal, state)
    for index in range(len(node.inputs)):
        _protect(state.uses.get((key_of(node), index), ()), refusal, state)
    for tensor in node.outputs:
        _fix(tensor, refusal, state)
    return False


def _unknown_input(at: NodeAxes, state: State) -> Reason | None:
    for tensor in at.node.inputs:
        if tensor.shape is None and not tensor.is_empty() and tensor.name not in state.tensors:
            return at.reason(f"reads `{tensor.name}`, whose rank is not known")
    return None


def _disagreement(at: NodeAxes, state: State) -> Reason | None:
    """Why what a rule wrote cannot be: an output that is read is left out, or has another shape in the graph."""
    for tensor in at.node.outputs:
        axes = state.tensors.get(tensor.name)
        if axes is None:
            if tensor.name and tensor.outputs:
                return at.reason(f"writes `{tensor.name}`, of which its rule says nothing")
        elif tensor.shape is not None and not _fits(axes, tensor.shape):
            return at.reason(f"writes `{tensor.name}` of a shape that does not follow from its inputs")
    return None


def _fits(axes: Axes, shape: Sequence[int | str | None]) -> bool:
    return len(axes) == len(shape) and all(
        labels is None or not isinstance(size, int) or len(labels) == size
        for labels, size in zip(axes, shape, strict=True)
    )


def _fix(tensor: gs.Tensor, reason: Reason, state: State) -> None:
    """Give a tensor labels that are protected, on the axes whose sizes are known; none if its rank is not."""
    state.tensors.pop(tensor.name, None)
    if tensor.shape is None:
        return
    axes = tuple(state.table.fresh(size) if isinstance(size, int) and size > 1 else None for size in tensor.shape)
    state.tensors[tensor.name] = axes
    _protect(axes, reason, state)


def _protect(axes: Axes, reason: Reason, state: State) -> None:
    for labels in axes:
        if labels is not None:
            state.table.protect(labels, reason)


def summarize(model: Model, state: State) -> AxisAnalysis:
    """The units that labels amount to, and their groups."""
    nodes = _nodes(model)
    components = state.table.components()

    def units(axes: Axes) -> Axes:
        return tuple(None if labels is None else components.unit[labels] for labels in axes)

    uses = {place: units(axes) for place, axes in state.uses.items()}
    tensors = {name: units(axes) for name, axes in state.tensors.items()}
    inputs = dict(uses)
    for node in nodes:
        for index, tensor in enumerate(node.inputs):
            if constant_of(tensor) is None and tensor.name in tensors:
                inputs[key_of(node), index] = tensors[tensor.name]
    reduced = [(name, components.unit[labels]) for name, labels in state.reduced]
    roles = Roles(state.producers, state.consumers, reduced)
    names = {key_of(node): node_name(node) for node in nodes}
    groups = build_groups(uses, tensors, inputs, components, roles, names)
    return AxisAnalysis(groups, len(components.reason), inputs, tensors)
