"""Axes of norms and of softmax."""

from __future__ import annotations

from typing import Any

import pytest
from axis_checks import check_groups, described
from onnx_text import model_from, positive, weight


def between(nodes: str, *, opset: int = 17, **weights: Any) -> tuple[dict[str, int | str], tuple[str, ...]]:
    """The groups of two convolutions around nodes from `h` to `r`, and what reduces over the first."""
    text = f"g (float[n,3,5,5] x) => (float[n,2,5,5] y) {{ h = Conv(x, a) {nodes} y = Conv(r, c) }}"
    model = model_from(text, opset=opset, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1), **weights)
    analysis = check_groups(model)
    return described(analysis), analysis.free[0].reduces


def test_batch_norm() -> None:
    weights: dict[str, Any] = {"s": weight(8), "b": weight(8), "m": weight(8), "v": positive(8)}
    assert between("r = BatchNormalization(h, s, b, m, v)", **weights) == (
        {"h": 8, "y": "`y` is an output of the graph"},
        (),
    )


def test_instance_norm() -> None:
    groups, reduces = between("r = InstanceNormalization(h, s, b)", s=weight(8), b=weight(8))
    assert (groups["h"], reduces) == (8, ())


def test_group_norm_loses_the_same_places() -> None:
    nodes = "r = GroupNormalization<num_groups=2>(h, s, b)"
    groups, reduces = between(nodes, opset=21, s=weight(8), b=weight(8))
    assert (groups["h"], reduces) == (4, ("r",))


def test_groups_of_one_channel_go_as_a_whole() -> None:
    nodes = "r = GroupNormalization<num_groups=8>(h, s, b)"
    assert between(nodes, opset=21, s=weight(8), b=weight(8))[0]["h"] == 8


@pytest.mark.parametrize(
    ("nodes", "opset"),
    [
        ("r = LayerNormalization<axis=1>(h, s, b)", 17),
        ("r, mean, deviation = LayerNormalization<axis=1>(h, s)", 17),
        ("r = RMSNormalization<axis=1>(h, s)", 23),
    ],
)
def test_layer_norm(nodes: str, opset: int) -> None:
    groups, reduces = between(nodes, opset=opset, s=weight(8, 1, 1), b=weight(8, 1, 1))
    assert (groups["h"], reduces) == (8, ("r",))


def test_statistics_of_a_layer_norm_are_read() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,1] y) "
        "{ h = Conv(x, a) r, mean, deviation = LayerNormalization<axis=3>(h, s) y = Conv(mean, c) }"
    )
    model = model_from(text, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1), s=weight(5))
    assert described(check_groups(model))["h"] == 8


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "LpNormalization", "Hardmax"])
@pytest.mark.parametrize(("axis", "reduces"), [(1, ("r",)), (-1, ())])
def test_softmax(op: str, axis: int, reduces: tuple[str, ...]) -> None:
    groups, found = between(f"r = {op}<axis={axis}>(h)")
    assert (groups["h"], found) == (8, reduces)


def test_layer_norm_of_primitives() -> None:
    nodes = (
        "mean = ReduceMean<axes=[1]>(h) d = Sub(h, mean) q = Mul(d, d) v = ReduceMean<axes=[1]>(q) "
        "e = Add(v, epsilon) s = Sqrt(e) r = Div(d, s)"
    )
    groups, reduces = between(nodes, epsilon=weight(1) ** 2 + 1)
    assert (groups["h"], reduces) == (8, ("mean", "v"))
