"""Passes that are wrong on purpose, each in one way, and a model to be wrong about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model import Model
from pruna_ir.pipeline.context import Context
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult

TEXT = """
    <ir_version: 8, opset_import: ["" : 17]>
    test (float[N,4] x) => (float[N,4] y) <float[4] b = {1, 2, 3, 4}> {
        [add] a = Add (x, b)
        [relu] r = Relu (a)
        [exp] y = Exp (r)
    }
"""


def small_model() -> Model:
    """x -> Add(b) -> a -> Relu -> r -> Exp -> y."""
    return Model.from_text(TEXT)


@dataclass(frozen=True)
class Seeded(Pass):
    """Does `change` to the graph, and says that it changed it if `says`."""

    name: ClassVar[str] = "seeded"
    effect: ClassVar[Effect] = Effect.EXACT

    change: Callable[[gs.Graph], object]
    says: bool = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Do it."""
        self.change(model.graph)
        return PassResult(changed=self.says)


def node(graph: gs.Graph, name: str) -> gs.Node:
    """The node of this name."""
    return next(node for node in graph.nodes if node.name == name)


def unsort(graph: gs.Graph) -> None:
    """Put the last node first."""
    graph.nodes.insert(0, graph.nodes.pop())


def forget_type(graph: gs.Graph) -> None:
    """Leave a tensor without a type."""
    node(graph, "relu").outputs[0].dtype = None


def forget_shape(graph: gs.Graph) -> None:
    """Leave a tensor without a shape."""
    node(graph, "relu").outputs[0].shape = None


def forget_input_type(graph: gs.Graph) -> None:
    """Leave the graph's input without a type."""
    graph.inputs[0].dtype = None


def drop_writer(graph: gs.Graph) -> None:
    """Remove a node whose output is still read."""
    graph.nodes.remove(node(graph, "relu"))


def drop_output(graph: gs.Graph) -> None:
    """Remove the node that writes the graph's output."""
    graph.nodes.remove(node(graph, "exp"))


def dangle(graph: gs.Graph) -> None:
    """Let a node read a tensor that comes from nowhere."""
    node(graph, "exp").inputs[0] = gs.Variable("nowhere", np.dtype("float32"), ["N", 4])


def clash(graph: gs.Graph) -> None:
    """Give a constant the name of another tensor."""
    node(graph, "add").inputs[1] = gs.Constant("r", np.ones(4, np.float32))


def write_twice(graph: gs.Graph) -> None:
    """Let two nodes write the same tensor."""
    relu = node(graph, "relu")
    graph.nodes.insert(2, gs.Node("Abs", "abs", inputs=[relu.inputs[0]], outputs=[relu.outputs[0]]))


def write_constant(graph: gs.Graph) -> None:
    """Let a node write a constant."""
    node(graph, "relu").outputs.append(gs.Constant("k", np.ones(4, np.float32)))


def write_input(graph: gs.Graph) -> None:
    """Let a node write the graph's input."""
    node(graph, "relu").outputs.append(graph.inputs[0])


def change_weights(graph: gs.Graph) -> None:
    """Replace the values of a constant, as a pass should: the outputs differ."""
    constant = node(graph, "add").inputs[1]
    constant.values = constant.values + 1


def write_into_weights(graph: gs.Graph) -> None:
    """Write into an array that other models share."""
    node(graph, "add").inputs[1].values[0] = 7


def invalid_attribute(graph: gs.Graph) -> None:
    """Set an attribute that the operator does not have."""
    node(graph, "relu").attrs["slope"] = 0.1


def wrong_type(graph: gs.Graph) -> None:
    """State a shape that is not that of the values."""
    node(graph, "relu").outputs[0].shape = ["N", 5]


def unknown_operator(graph: gs.Graph) -> None:
    """Use an operator that ONNX Runtime does not have, in a domain that the checker does not look at."""
    relu = node(graph, "relu")
    relu.op, relu.domain = "Reluu", "com.microsoft"


def nothing(graph: gs.Graph) -> None:
    """Change nothing."""


def fail(graph: gs.Graph) -> None:
    """Raise what no user should see."""
    raise KeyError("oops")


def change_weights_back(graph: gs.Graph) -> None:
    """Undo `change_weights`."""
    constant = node(graph, "add").inputs[1]
    constant.values = constant.values - 1


@dataclass(frozen=True)
class Deciding(Pass):
    """Takes a decision by measuring; `measure` is called when it measures."""

    name: ClassVar[str] = "deciding"
    effect: ClassVar[Effect] = Effect.EXACT

    measure: Callable[[int], object]

    def run(self, model: Model, context: Context) -> PassResult:
        """Decide, and do nothing about it."""
        context.decisions.decide("deciding", lambda: self.measure(1))
        return PassResult()
