"""Editing a graph node by node without losing its order: what rules rewrite with."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.scoping import graphs_of, nodes_inside
from pruna_ir.remarks import Reason


def redirect(old: gs.Tensor, new: gs.Tensor) -> list[gs.Node]:
    """Make every reader of `old` read `new`, those in sub-graphs included; returns the readers, each once."""
    readers = list({id(reader): reader for reader in old.outputs}.values())
    list.clear(old.outputs)
    for reader in readers:
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                list.__setitem__(reader.inputs, index, new)
                list.append(new.outputs, reader)
    return readers


def detach(nodes: Iterable[gs.Node]) -> None:
    """Unlink nodes, and all that their sub-graphs hold, from their tensors, in one sweep over those tensors.

    graphsurgeon's own removal searches by value, which takes a quadratic time where a tensor has many readers.
    """
    gone: dict[int, gs.Node] = {}
    for node in nodes:
        gone[id(node)] = node
        gone.update((id(inner), inner) for inner in nodes_inside(node))
    held = {id(tensor): tensor for node in gone.values() for tensor in [*node.inputs, *node.outputs]}
    for tensor in held.values():
        for linked in (tensor.inputs, tensor.outputs):
            kept = [node for node in linked if id(node) not in gone]
            list.clear(linked)
            list.extend(linked, kept)
    for node in gone.values():
        list.clear(node.inputs)
        list.clear(node.outputs)


def remove_nodes(graph: gs.Graph, nodes: Iterable[gs.Node]) -> None:
    """Remove many nodes of a graph at once."""
    doomed = list(nodes)
    gone = {id(node) for node in doomed}
    detach(doomed)
    graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone]


def tensor_names(graph: gs.Graph) -> set[str]:
    """Names of all tensors of a graph and its sub-graphs: ONNX lets no two scopes that see each other share a name."""
    scopes = graphs_of(graph)
    interface = (tensor.name for scope in scopes for tensor in [*scope.inputs, *scope.outputs])
    inner = (tensor.name for scope in scopes for node in scope.nodes for tensor in [*node.inputs, *node.outputs])
    return {*interface, *inner}


class Rewriter:
    """Collects insertions and removals and applies them in one sweep.

    A removal is a mark, an insertion hangs on the node that it stands beside, and `commit` rebuilds the list once.
    `names` are the tensor names in use in the whole model (default: in this graph), and grow with new tensors.
    """

    def __init__(self, graph: gs.Graph, names: set[str] | None = None) -> None:
        self.graph = graph
        self._erased: dict[int, gs.Node] = {}
        self._before: dict[int, list[gs.Node]] = {}
        self._after: dict[int, list[gs.Node]] = {}
        self._touched: list[gs.Node] = []
        self._outputs = {id(tensor) for tensor in graph.outputs}
        self._own = {id(node) for node in graph.nodes}
        self._names = tensor_names(graph) if names is None else names
        # Nodes, by identity, of which a rule found out what it need not find out again.
        self.known: dict[Hashable, set[int]] = {}

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an output of the graph."""
        return id(tensor) in self._outputs

    def owns(self, node: gs.Node) -> bool:
        """Whether the node stands in this graph itself, not in one around it or inside of it."""
        return id(node) in self._own

    def is_erased(self, node: gs.Node) -> bool:
        """Whether the node is gone already."""
        return id(node) in self._erased

    def not_internal(self, tensor: gs.Tensor) -> Reason | None:
        """A reason if the tensor must survive: it is a graph output, has several readers, or enters a sub-graph."""
        if self.is_output(tensor):
            return Reason("`{}` is an output of the graph", tensor.name)
        if len(tensor.outputs) != 1:
            return Reason("`{}` has {} users", tensor.name, len(tensor.outputs))
        if any(id(writer) not in self._own for writer in tensor.inputs):
            return Reason("`{}` is computed outside of the sub-graph that reads it", tensor.name)
        if id(tensor.outputs[0]) not in self._own:
            return Reason("`{}` is read inside of a sub-graph", tensor.name)
        return None

    def constant(self, like: str, values: np.ndarray) -> gs.Constant:
        """A new constant with a name made from `like`."""
        return gs.Constant(self.fresh_name(like), np.asarray(values, order="C"))

    def variable(self, like: str, dtype: np.dtype, shape: Sequence[int | str | None] | None) -> gs.Variable:
        """A new tensor with a name made from `like`."""
        return gs.Variable(self.fresh_name(like), dtype, None if shape is None else list(shape))

    def insert(self, node: gs.Node, before: gs.Node) -> gs.Node:
        """Place a new node right before one that is in the graph (or was, until it was erased)."""
        self._own.add(id(node))
        self._before.setdefault(id(before), []).append(node)
        self._erased.pop(id(node), None)
        self.touch(node)
        return node

    def insert_after(self, node: gs.Node, writer: gs.Node | None) -> gs.Node:
        """Place a new node right behind one that is in the graph, or (None) in front of all nodes."""
        self._own.add(id(node))
        places, anchor = (self._before, self.graph.nodes[0]) if writer is None else (self._after, writer)
        places.setdefault(id(anchor), []).insert(0, node)  # what was placed there earlier may read its output
        self._erased.pop(id(node), None)
        self.touch(node)
        return node

    def erase(self, node: gs.Node) -> None:
        """Remove a node; its inputs lose a user and its outputs their writer."""
        self.touch(node)
        inputs = list(node.inputs)
        detach([node])
        self._erased[id(node)] = node
        for tensor in inputs:
            self._touch_last_reader(tensor)

    def erase_unread(self, tensor: gs.Tensor) -> None:
        """Remove what computes a tensor that nothing reads, and then what only that read; other graphs stay."""
        waiting = [tensor]
        while waiting:
            for node in list(waiting.pop().inputs):
                unread = not any(output.outputs or self.is_output(output) for output in node.outputs)
                if unread and id(node) in self._own:
                    waiting += [one for one in node.inputs if not isinstance(one, gs.Constant)]
                    self.erase(node)

    def redirect(self, old: gs.Tensor, new: gs.Tensor) -> None:
        """Make every reader of `old` read `new`."""
        for reader in redirect(old, new):
            self.touch(reader)

    def set_input(self, node: gs.Node, index: int, tensor: gs.Tensor) -> None:
        """Let a node read another tensor at `index`, or as one more input when that is behind its last."""
        if index == len(node.inputs):
            node.inputs.append(tensor)
        else:
            old = node.inputs[index]
            list.pop(old.outputs, next(place for place, reader in enumerate(old.outputs) if reader is node))
            list.__setitem__(node.inputs, index, tensor)
            list.append(tensor.outputs, node)
            self._touch_last_reader(old)
        self.touch(node)

    def take_over(self, node: gs.Node, tensor: gs.Tensor, index: int = 0) -> None:
        """Let `node` write an existing tensor, instead of whatever wrote it: its name, and so the output's, stays."""
        tensor.inputs.clear()
        node.outputs[index] = tensor
        self.touch(node)

    def touch(self, node: gs.Node) -> None:
        """Have the driver look at a node, and at its neighbours, again."""
        neighbours = itertools.chain(
            (writer for tensor in node.inputs for writer in tensor.inputs),
            (reader for tensor in node.outputs for reader in tensor.outputs),
        )
        self._touched += [node, *neighbours]

    def _touch_last_reader(self, tensor: gs.Tensor) -> None:
        """A tensor that has one reader left is internal now: what a rule refused may be right."""
        if len(tensor.outputs) == 1:
            self.touch(tensor.outputs[0])

    def take_touched(self) -> list[gs.Node]:
        """The nodes of this graph touched since the last call that are still there, each once.

        Those of sub-graphs are left to the driver of the sub-graph: here they could not be removed.
        """
        unique = {id(node): node for node in self._touched if id(node) in self._own and not self.is_erased(node)}
        self._touched.clear()
        return list(unique.values())

    def fresh_name(self, like: str) -> str:
        """A tensor name that the graph does not use yet."""
        numbered = itertools.chain([like], (f"{like}_{number}" for number in itertools.count(1)))
        name = next(candidate for candidate in numbered if candidate not in self._names)
        self._names.add(name)
        return name

    def commit(self) -> None:
        """Rebuild the graph's node list."""
        if not self._erased and not self._before and not self._after:
            return
        ordered: list[gs.Node] = []

        def place(node: gs.Node) -> None:
            for inserted in self._before.get(id(node), ()):
                place(inserted)
            if not self.is_erased(node):
                ordered.append(node)
            for inserted in self._after.get(id(node), ()):
                place(inserted)

        for node in self.graph.nodes:
            place(node)
        self.graph.nodes[:] = ordered
        self._erased.clear()
        self._before.clear()
        self._after.clear()
