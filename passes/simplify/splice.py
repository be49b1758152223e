"""Putting the nodes of a body in the place of the control-flow node that holds it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model import Model
from pruna_ir.model.scoping import graphs_of
from pruna_ir.pipeline.rewriter import detach, redirect


class Splicer:
    """Moves bodies into the graphs around them, under names that the whole model does not use elsewhere."""

    def __init__(self, model: Model) -> None:
        self._model = model
        # Bodies that do not see each other may use the same names; once moved, they might.
        scopes = graphs_of(model.graph)
        self._tensors = _Names(_tensors(scopes))
        self._nodes = _Names(node for scope in scopes for node in scope.nodes)

    def take_out(self, body: gs.Graph) -> list[gs.Node]:
        """The nodes of a body, with names that can stand anywhere in the model."""
        scopes = graphs_of(body)
        written = [tensor for scope in scopes for node in scope.nodes for tensor in node.outputs]
        written += [tensor for scope in scopes[1:] for tensor in scope.inputs]
        written += [tensor for tensor in _tensors(scopes) if isinstance(tensor, gs.Constant)]
        for tensor in written:
            if not tensor.is_empty():
                before = tensor.name
                self._tensors.make_unique(tensor)
                if before in self._model.untyped:
                    self._model.untyped |= {tensor.name}
        for scope in scopes:
            for node in scope.nodes:
                self._nodes.make_unique(node)
        return list(body.nodes)

    def constant(self, like: str, values: np.ndarray) -> gs.Constant:
        """A new constant with a name made from `like`."""
        tensor = gs.Constant(like, values)
        self._tensors.make_unique(tensor)
        return tensor

    def variable(self, like: str, dtype: Any, shape: Sequence[int | str | None] | None) -> gs.Variable:
        """A new tensor with a name made from `like`; its type may not be known."""
        tensor = gs.Variable(like, dtype, shape)
        self._tensors.make_unique(tensor)
        if dtype is None or shape is None:
            self._model.untyped |= {tensor.name}
        return tensor

    @staticmethod
    def stand_in(
        graph: gs.Graph, node: gs.Node, nodes: Sequence[gs.Node], results: Sequence[gs.Tensor]
    ) -> list[gs.Node]:
        """What to put in the place of `node`: `nodes`, which compute `results`, what its outputs are to be."""
        targets = list(node.outputs)
        detach([node])
        return [*nodes, *_deliver(graph, nodes, zip(targets, results, strict=True))]


def expand_nodes(graph: gs.Graph, expand: Callable[[gs.Node], list[gs.Node] | None]) -> int:
    """Put what `expand` gives in the place of nodes of a graph, and expand that too; how often it gave something."""
    waiting, placed, expanded = deque(graph.nodes), [], 0
    while waiting:
        node = waiting.popleft()
        inner = expand(node)
        if inner is None:
            placed.append(node)
        else:
            waiting.extendleft(reversed(inner))
            expanded += 1
    if expanded:
        graph.nodes[:] = placed
    return expanded


def _deliver(graph: gs.Graph, nodes: Sequence[gs.Node], pairs: Iterable[tuple[gs.Tensor, gs.Tensor]]) -> list[gs.Node]:
    """Let readers of each target read its result; the nodes that this needs where both must keep their names."""
    outputs, own = {id(tensor) for tensor in graph.outputs}, {id(node) for node in nodes}
    moved: dict[int, gs.Tensor] = {}
    added = []
    for target, result in pairs:
        source = moved.get(id(result), result)
        if target.is_empty():
            continue
        if id(target) not in outputs:
            keep_type(source, target)
            redirect(target, source)
        elif id(source) not in outputs and any(id(writer) in own for writer in source.inputs):
            write_instead(source, target)
            moved[id(result)] = target
        else:
            added.append(gs.Node("Identity", inputs=[source], outputs=[target]))
    return added


def write_instead(source: gs.Tensor, target: gs.Tensor) -> None:
    """Let the node that writes `source` write `target`, a graph output, whose name must stay."""
    target.inputs.clear()
    writer = source.inputs[0]
    index = next(index for index, tensor in enumerate(writer.outputs) if tensor is source)
    writer.outputs[index] = target
    redirect(source, target)


def keep_type(source: gs.Tensor, target: gs.Tensor) -> None:
    """Keep what only the replaced tensor's type said."""
    if isinstance(source, gs.Variable):
        source.dtype = source.dtype if source.dtype is not None else target.dtype
        source.shape = source.shape if source.shape is not None else target.shape


def _tensors(scopes: Iterable[gs.Graph]) -> Iterable[gs.Tensor]:
    """The tensors of graphs, some of them several times."""
    for scope in scopes:
        yield from (*scope.inputs, *scope.outputs)
        for node in scope.nodes:
            yield from (*node.inputs, *node.outputs)


class _Names:
    """Who has which name, among tensors or among nodes."""

    def __init__(self, things: Iterable[gs.Tensor | gs.Node]) -> None:
        self._owners: dict[str, int] = {}
        self._shared: set[str] = set()
        for thing in things:
            if self._owners.setdefault(thing.name, id(thing)) != id(thing):
                self._shared.add(thing.name)

    def make_unique(self, thing: gs.Tensor | gs.Node) -> None:
        """Give a thing another name if others have its own."""
        name = thing.name
        if not name or (name not in self._shared and self._owners.setdefault(name, id(thing)) == id(thing)):
            return
        fresh = (f"{name}_{number}" for number in itertools.count(1))
        thing.name = next(candidate for candidate in fresh if candidate not in self._owners)
        self._owners[thing.name] = id(thing)
