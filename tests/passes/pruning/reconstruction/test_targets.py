"""Which tensor a layer is solved for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.pruning.reconstruction.activations import Rectifier
from pruna_ir.passes.pruning.reconstruction.smooth import Smooth
from pruna_ir.passes.pruning.reconstruction.targets import Target, target_of

NODE = onnx.helper.make_node
RELU = Rectifier(0.0, np.inf)


def target(model: Model, tensor: str, unknown: frozenset[str] = frozenset()) -> Target:
    outputs = frozenset(one.name for one in model.graph.outputs)
    return target_of(model.graph.tensors()[tensor], outputs, lambda name: name not in unknown)


def behind(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> Model:
    """x -> Conv -> c, z of the same shape, and `nodes` behind."""
    constants = {"w": weights(0, 4, 3, 1, 1), "k": weights(1, 1, 4, 1, 1), "m": weights(2, 2, 1, 4, 1, 1)}
    used = {name for node in nodes for name in node.input} | {"w"}
    return build(
        [conv("c", "x", "w"), *nodes],
        {"x": ["n", 3, 8, 8], "z": ["n", 4, 8, 8]},
        outputs,
        {name: value for name, value in constants.items() if name in used},
    )


def test_the_first_layer_and_the_residual_of_a_network() -> None:
    assert target(small_net(), "c1") == Target("c1", (), RELU)
    assert target(small_net(), "c2") == Target("a", ("r1",), Rectifier(0.0, 6.0))
    assert target(small_net(), "y") == Target("y", (), None)


def test_a_summand_that_is_not_known_yet_ends_the_way() -> None:
    assert target(small_net(), "c2", frozenset({"r1"})) == Target("c2", (), None)


CASES = {
    "two sums": (
        behind(NODE("Add", ["z", "c"], ["a"]), NODE("Add", ["a", "k"], ["b"]), NODE("Relu", ["b"], ["y"])),
        Target("b", ("z", "k"), RELU),
    ),
    "a graph output": (
        behind(NODE("Add", ["z", "c"], ["y"]), NODE("Relu", ["y"], ["r"]), outputs=("y", "r")),
        Target("y", ("z",), None),
    ),
    "several readers": (
        behind(NODE("Add", ["z", "c"], ["a"]), NODE("Mul", ["a", "c"], ["y"])),
        Target("c", (), None),
    ),
    "a larger sum": (behind(NODE("Add", ["c", "m"], ["y"])), Target("c", (), None)),
    "its own double": (behind(NODE("Add", ["c", "c"], ["y"])), Target("c", (), None)),
    "two rectifiers": (
        behind(NODE("Relu", ["c"], ["y"]), NODE("Relu", ["c"], ["r"]), outputs=("y", "r")),
        Target("c", (), RELU),
    ),
    "an activation": (behind(NODE("Sigmoid", ["c"], ["y"])), Target("c", (), Smooth("Sigmoid"))),
    "an activation of two nodes": (
        behind(NODE("Add", ["z", "c"], ["a"]), NODE("Sigmoid", ["a"], ["g"]), NODE("Mul", ["a", "g"], ["y"])),
        Target("a", ("z",), Smooth("Swish")),
    ),
    "a rectifier and another": (
        behind(NODE("Relu", ["c"], ["y"]), NODE("Sigmoid", ["c"], ["r"]), outputs=("y", "r")),
        Target("c", (), None),
    ),
}


@pytest.mark.parametrize(("model", "wanted"), CASES.values(), ids=CASES)
def test_targets(model: Model, wanted: Target) -> None:
    assert target(model, "c") == wanted
