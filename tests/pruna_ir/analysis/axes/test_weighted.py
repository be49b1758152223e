"""Axes of convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from axis_checks import check_groups, described
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import Use, analyze


def test_conv_then_conv() -> None:
    text = "g (float[n,3,6,6] x) => (float[n,5,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, a, b) r = Relu(h) y = Conv(r, c) }"
    model = model_from(text, a=weight(8, 3, 3, 3), b=weight(8), c=weight(5, 8, 1, 1))
    analysis = check_groups(model)
    assert described(analysis) == {"h": 8, "y": "`y` is an output of the graph"}
    (group,) = analysis.free
    assert group.producers == (Use("h", 1, 0),)
    assert group.consumers == (Use("y", 1, 1),)
    assert group.carriers == (Use("h", 2, 0),)
    assert analysis.positions(group, group.consumers[0]).tolist() == [[index] for index in range(8)]


@pytest.mark.parametrize(("rank", "kernel"), [(1, (3,)), (3, (1, 2, 1))])
def test_convolutions_of_other_ranks(rank: int, kernel: tuple[int, ...]) -> None:
    sizes, ones = ",".join("5" * rank), ",".join("1" * rank)
    nodes = "h = Conv(x, a) t = ConvTranspose(h, b, s) y = ReduceMean(t)"
    text = f"g (float[1,2,{sizes}] x) => (float[1,1,{ones}] y) {{ {nodes} }}"
    model = model_from(text, a=weight(6, 2, *kernel), b=weight(6, 4, *kernel), s=weight(4))
    assert described(check_groups(model)) == {"h": 6, "t": 4}


def test_one_channel_is_not_depthwise() -> None:
    text = "g (float[1,1,5,5] x) => (float[1,1,5,5] y) { h = Conv(x, a) y = Conv(h, b) }"
    analysis = check_groups(model_from(text, a=weight(4, 1, 1, 1), b=weight(1, 4, 1, 1)))
    assert described(analysis) == {"h": 4}


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_follows_its_channels(multiplier: int) -> None:
    text = "g (float[n,3,5,5] x) => (float[n,2,3,3] y) { h = Conv(x, a) d = Conv<group=4>(h, b, s) y = Conv(d, c) }"
    wide = 4 * multiplier
    weights: dict[str, Any] = {
        "a": weight(4, 3, 1, 1),
        "b": weight(wide, 1, 3, 3),
        "s": weight(wide),
        "c": weight(2, wide, 1, 1),
    }
    analysis = check_groups(model_from(text, **weights))
    (group,) = analysis.free
    assert (group.name, group.size, group.producers) == ("h", 4, (Use("h", 1, 0),))
    assert Use("d", 1, 0) in group.carriers
    assert analysis.positions(group, Use("y", 1, 1)).shape == (4, multiplier)


def test_depthwise_on_the_input_stays() -> None:
    text = "g (float[n,4,5,5] x) => (float[n,2,3,3] y) { d = Conv<group=4>(x, b) y = Conv(d, c) }"
    model = model_from(text, b=weight(4, 1, 3, 3), c=weight(2, 4, 1, 1))
    assert analyze(model).free == ()


def test_groups_lose_the_same_places() -> None:
    text = "g (float[n,3,5,5] x) => (float[n,2,5,5] y) { h = Conv(x, a) m = Conv<group=3>(h, b, s) y = Conv(m, c) }"
    weights: dict[str, Any] = {
        "a": weight(12, 3, 1, 1),
        "b": weight(6, 4, 1, 1),
        "s": weight(6),
        "c": weight(2, 6, 1, 1),
    }
    analysis = check_groups(model_from(text, **weights))
    assert described(analysis)["h"] == 4
    assert described(analysis)["m"] == 2
    assert analysis.positions(analysis.group("h"), Use("h", 1, 0)).tolist() == [[k, 4 + k, 8 + k] for k in range(4)]
    assert analysis.positions(analysis.group("h"), Use("m", 1, 1)).tolist() == [[k] for k in range(4)]


def test_groups_of_one_output_go_as_a_whole() -> None:
    text = "g (float[n,3,5,5] x) => (float[n,2,5,5] y) { h = Conv(x, a) m = Conv<group=3>(h, b) y = Conv(m, c) }"
    model = model_from(text, a=weight(12, 3, 1, 1), b=weight(3, 4, 1, 1), c=weight(2, 3, 1, 1))
    assert described(check_groups(model))["h"] == 3


def test_two_groupings_meet() -> None:
    """Of 12 channels in 2 and in 3 groups, every second one goes together."""
    text = (
        "g (float[n,3,5,5] x) => (float[n,10,5,5] y) "
        "{ h = Conv(x, a) m = Conv<group=2>(h, b) p = Conv<group=3>(h, c) y = Concat<axis=1>(m, p) }"
    )
    model = model_from(text, a=weight(12, 3, 1, 1), b=weight(4, 6, 1, 1), c=weight(6, 4, 1, 1))
    assert described(check_groups(model))["h"] == 2


@pytest.mark.parametrize("outputs", [1, 2])
def test_grouped_transposed_convolution(outputs: int) -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,k,l] y) "
        "{ h = Conv(x, a) m = ConvTranspose<group=3, strides=[2,2]>(h, b, s) y = Conv(m, c) }"
    )
    wide = 3 * outputs
    weights: dict[str, Any] = {
        "a": weight(6, 3, 1, 1),
        "b": weight(6, outputs, 2, 2),
        "s": weight(wide),
        "c": weight(2, wide, 1, 1),
    }
    analysis = check_groups(model_from(text, **weights))
    assert described(analysis)["h"] == (3 if outputs == 1 else 2)


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("bias", [(6,), (1, 6), (1,), (4, 1), ()])
def test_gemm(transposed: tuple[int, int], bias: tuple[int, ...]) -> None:
    flips = f"transA={transposed[0]}, transB={transposed[1]}"
    first = "float[3,4] x" if transposed[0] else "float[4,3] x"
    text = f"g ({first}) => (float[4,2] y) {{ h = Gemm<{flips}>(x, a, b) y = MatMul(h, c) }}"
    a = weight(3, 6).T.copy() if transposed[1] else weight(3, 6)
    analysis = check_groups(model_from(text, a=a, b=weight(*bias), c=weight(6, 2)))
    assert described(analysis)["h"] == 6


@pytest.mark.parametrize(
    ("shape", "first", "second"),
    [((2, 3), (3, 5), (5, 2)), ((4, 2, 3), (3, 5), (5,)), ((4, 2, 3), (4, 3, 5), (1, 5, 2)), ((3,), (3, 5), (5, 4))],
)
def test_matmul(shape: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]) -> None:
    nodes = "h = MatMul(x, a) m = MatMul(h, b) s = ReduceMax<keepdims=0>(m) y = Reshape(s, one)"
    text = f"g (float{list(shape)} x) => (float[1] y) {{ {nodes} }}"
    analysis = check_groups(model_from(text, a=weight(*first), b=weight(*second), one=np.array([1])))
    assert described(analysis)["h"] == 5


def test_weight_on_the_left() -> None:
    text = "g (float[2,3,7] x) => (float[2,4,7] y) { h = MatMul(a, x) r = Relu(h) y = MatMul(b, r) }"
    analysis = check_groups(model_from(text, a=weight(6, 3), b=weight(4, 6)))
    (group,) = analysis.free
    assert (group.size, group.producers, group.consumers) == (6, (Use("h", 0, 0),), (Use("y", 0, 1),))


def test_product_of_two_variables_is_contracted() -> None:
    text = (
        "g (float[2,7,3] x, float[2,3,5] z) => (float[2,7,5] y) { q = MatMul(x, a) k = MatMul(b, z) y = MatMul(q, k) }"
    )
    analysis = check_groups(model_from(text, a=weight(3, 6), b=weight(6, 3)))
    (group,) = analysis.free
    assert group.producers == (Use("q", 1, 1), Use("k", 0, 0))
    assert group.consumers == (Use("y", 0, 2), Use("y", 1, 1))
