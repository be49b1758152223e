"""Activations without corners: what weighs errors in front of them, and which nodes they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import build

from pruna_ir.passes.pruning.reconstruction.smooth import ACTIVATIONS, Smooth, smooth_of

NODE = onnx.helper.make_node


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_weighted_errors_are_those_behind_the_activation(name: str) -> None:
    random = np.random.default_rng(0)
    now, target = (4 * random.standard_normal(2000).astype(np.float32) for _ in range(2))
    found = Smooth(name).weights(now, target)
    assert found.dtype == np.float32 and (found >= 0).all()
    behind = np.abs(Smooth(name)(now) - Smooth(name)(target))
    np.testing.assert_allclose(found * np.abs(now - target), behind, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_where_nothing_is_wrong_the_tangent_counts(name: str) -> None:
    points = np.linspace(-8, 8, 101, dtype=np.float32)
    exact = points.astype(np.float64)
    slopes = (Smooth(name)(exact + 1e-5) - Smooth(name)(exact - 1e-5)) / 2e-5
    corners = np.isin(np.abs(points), 3.0) if name == "HardSwish" else np.zeros(101, bool)
    np.testing.assert_allclose(Smooth(name).weights(points, points)[~corners], np.abs(slopes)[~corners], atol=5e-3)


def test_huge_values_are_no_trouble() -> None:
    points = np.array([-1e4, 1e4], np.float32)
    for name in ACTIVATIONS:
        assert np.isfinite(Smooth(name).weights(points, points[::-1])).all()


GATED = [NODE("Sigmoid", ["r"], ["g"]), NODE("Mul", ["g", "r"], ["y"])]
CASES = {
    "sigmoid": ([NODE("Sigmoid", ["r"], ["y"])], ("y",), Smooth("Sigmoid")),
    "gated by itself": (GATED, ("y",), Smooth("Swish")),
    "gate that others read": ([*GATED, NODE("Neg", ["g"], ["z"])], ("y", "z"), None),
    "gate that is an output": (GATED, ("y", "g"), None),
    "gate of another": ([NODE("Sigmoid", ["r"], ["g"]), NODE("Mul", ["r", "x"], ["y"])], ("y", "g"), None),
    "no activation": ([NODE("Mul", ["r", "x"], ["y"])], ("y",), None),
    "read twice": ([NODE("Sigmoid", ["r"], ["y"]), NODE("Sigmoid", ["r"], ["z"])], ("y", "z"), None),
    "corner": ([NODE("Relu", ["r"], ["y"])], ("y",), None),
}


@pytest.mark.parametrize(("nodes", "outputs", "wanted"), CASES.values(), ids=CASES)
def test_which_nodes_are_activations(
    nodes: list[onnx.NodeProto], outputs: tuple[str, ...], wanted: Smooth | None
) -> None:
    graph = build([NODE("Neg", ["x"], ["r"]), *nodes], {"x": [4]}, outputs, {}).graph
    assert smooth_of(graph.tensors()["r"].outputs, frozenset(outputs)) == wanted


def test_which_saturate() -> None:
    assert [name for name in sorted(ACTIVATIONS) if Smooth(name).saturates] == ["Sigmoid", "Tanh"]
