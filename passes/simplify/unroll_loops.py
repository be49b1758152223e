"""Loop that runs a known, small number of times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.copying import instantiate
from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import bodies_of, graphs_of
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS
from pruna_ir.passes.simplify.shapes.refine import refine_shapes
from pruna_ir.passes.simplify.splice import Splicer, expand_nodes
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class UnrollLoops(Pass):
    """Write out a Loop that runs a few times, or never: its body, once for each time.

        before   Loop(2, true, x) {v -> Mul(v, w) -> v} -> y
        after    x -> Mul(w) -> Mul(w) -> y

    What it collects becomes a Concat, the number of the iteration a constant. Other passes then see through it, and
    the runtime spares what starting an iteration costs.

    Does not fire if the number of iterations or the condition is computed, where a body computes whether to go on, if
    there are more than `max-trips` iterations or they would make more than `max-nodes` nodes, nor, if it never runs,
    where the shape of what it would have collected is not known.
    """

    name: ClassVar[str] = "unroll-loops"
    effect: ClassVar[Effect] = Effect.EXACT

    max_trips: int = option(4, "iterations up to which a loop is written out", low=0)
    max_nodes: int = option(32, "nodes that a loop may become", low=0)

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        _Unroller(model, self, result).run(model.graph)
        if result.changed:
            refine_shapes(model)
        return result


class _Unroller:
    """Writes out the loops of a graph, and then those of the graphs inside of it."""

    def __init__(self, model: Model, options: UnrollLoops, result: PassResult) -> None:
        self.options, self.result = options, result
        self._splicer = cache(lambda: Splicer(model))

    def run(self, graph: gs.Graph) -> None:
        unrolled = expand_nodes(graph, lambda node: self._unrolled(graph, node))
        if unrolled:
            self.result.count("loops unrolled", unrolled)
        for node in graph.nodes:
            for body in bodies_of(node):
                self.run(body)

    def _unrolled(self, graph: gs.Graph, node: gs.Node) -> list[gs.Node] | None:
        """What a Loop becomes; None for other nodes, and with a remark where it stays."""
        if node.op != "Loop" or node.domain not in STANDARD_DOMAINS:
            return None
        trips = _trips(node)
        reason = trips if isinstance(trips, Reason) else self._refusal(node, trips)
        if reason is not None:
            self.result.remarks.append(Remark(RemarkKind.MISSED, UnrollLoops.name, node_name(node), reason))
            return None
        assert isinstance(trips, int)
        return _Loop(node, self._splicer()).write_out(graph, trips)

    def _refusal(self, node: gs.Node, trips: int) -> Reason | None:
        """Why a loop of so many iterations stays."""
        if trips == 0:
            return _unknown_result(node)
        if trips > self.options.max_trips:
            return Reason("it runs {:,} times (`max-trips` is {})", trips, self.options.max_trips)
        body: gs.Graph = node.attrs["body"]
        inner = sum(len(scope.nodes) for scope in graphs_of(body))
        collected = len(node.outputs) - len(node.inputs[2:])
        added = trips * inner + collected * (trips + 1)
        if added > self.options.max_nodes:
            return Reason("it would become {:,} nodes (`max-nodes` is {})", added, self.options.max_nodes)
        return None


def _trips(node: gs.Node) -> int | Reason:
    """How often a loop runs, or why that is not known."""
    count, condition, body = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None, node.attrs["body"]
    given = condition is not None and not condition.is_empty()
    if given and isinstance(condition, gs.Constant) and not bool(condition.values.reshape(-1)[0]):
        return 0
    if count.is_empty():
        return Reason("it has no number of iterations")
    if not isinstance(count, gs.Constant):
        return Reason("`{}` is not a constant", count.name)
    trips = max(int(count.values.reshape(-1)[0]), 0)
    if trips == 0:
        return 0
    if given and not isinstance(condition, gs.Constant):
        return Reason("`{}` is not a constant", condition.name if condition is not None else "")
    if trips > 1 and not _goes_on(body):
        return Reason("its body computes `{}`, whether to go on", body.outputs[0].name)
    return trips


def _goes_on(body: gs.Graph) -> bool:
    """Whether the body always gives true for whether to go on, once it has been given true."""
    tensor = body.outputs[0]
    while tensor.inputs and tensor.inputs[0].op == "Identity" and not isinstance(tensor, gs.Constant):
        tensor = tensor.inputs[0].inputs[0]
    if tensor is body.inputs[1]:
        return True
    if tensor.inputs and not isinstance(tensor, gs.Constant) and tensor.inputs[0].op == "Constant":
        tensor = tensor.inputs[0].attrs.get("value")
    return isinstance(tensor, gs.Constant) and bool(tensor.values.reshape(-1)[0])


def _collected(node: gs.Node) -> list[tuple[gs.Tensor, gs.Tensor]]:
    """What the loop collects: its outputs, and the tensors of the body that they are made of."""
    carried = len(node.inputs) - 2
    return list(zip(node.outputs[carried:], node.attrs["body"].outputs[1 + carried :], strict=True))


def _unknown_result(node: gs.Node) -> Reason | None:
    """Why a loop that never runs stays."""
    for target, element in _collected(node):
        if not target.is_empty() and target.outputs and _empty(element) is None:
            return Reason("the shape or type of `{}` is not known", element.name)
    return None


def _empty(element: gs.Tensor) -> gs.Constant | None:
    """What collecting nothing gives."""
    known = element.shape is not None and all(isinstance(size, int) for size in element.shape)
    if not known or element.dtype is None or isinstance(element.dtype, int):
        return None
    return gs.Constant(f"{element.name}_none", np.empty((0, *element.shape), element.dtype))


class _Loop:
    """A loop that is being written out."""

    def __init__(self, node: gs.Node, splicer: Splicer) -> None:
        self.node, self.splicer = node, splicer
        self.body: gs.Graph = node.attrs["body"]

    def write_out(self, graph: gs.Graph, trips: int) -> list[gs.Node]:
        """The nodes that do what the loop does."""
        carried = list(self.node.inputs[2:])
        nodes: list[gs.Node] = []
        elements: list[list[gs.Tensor]] = [[] for _ in _collected(self.node)]
        for trip in range(trips):
            copy = self._iteration(trip, carried)
            nodes += self.splicer.take_out(copy)
            carried = list(copy.outputs[1 : 1 + len(carried)])
            for column, element in zip(elements, copy.outputs[1 + len(carried) :], strict=True):
                column.append(element)
        results = [*carried]
        for (target, element), column in zip(_collected(self.node), elements, strict=True):
            results.append(self._gather(target, element, column, nodes))
        return self.splicer.stand_in(graph, self.node, nodes, results)

    def _iteration(self, trip: int, carried: list[gs.Tensor]) -> gs.Graph:
        """The body, with numbers for its counter and its condition, and what the iteration before it gave."""
        counter, condition = self.body.inputs[:2]
        numbers = [
            self.splicer.constant(tensor.name, np.full([1] * len(tensor.shape or ()), value))
            for tensor, value in ((counter, np.int64(trip)), (condition, np.True_))
        ]
        return instantiate(self.body, list(zip(self.body.inputs, [*numbers, *carried], strict=True)))

    def _gather(
        self, target: gs.Tensor, element: gs.Tensor, column: list[gs.Tensor], nodes: list[gs.Node]
    ) -> gs.Tensor:
        """One tensor of what the iterations have collected; appends the nodes that make it."""
        if target.is_empty() or not column:
            return _empty(element) or target
        axes = self.splicer.constant(f"{target.name}_axes", np.array([0]))
        shape = None if element.shape is None else [1, *element.shape]
        parts = [self.splicer.variable(f"{target.name}_part", element.dtype, shape) for _ in column]
        nodes += [
            gs.Node("Unsqueeze", inputs=[one, axes], outputs=[part]) for one, part in zip(column, parts, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        whole = self.splicer.variable(target.name, element.dtype, shape and [len(parts), *shape[1:]])
        nodes.append(gs.Node("Concat", attrs={"axis": 0}, inputs=parts, outputs=[whole]))
        return whole
