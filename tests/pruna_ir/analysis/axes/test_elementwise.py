"""Axes of operators that work on elements, and broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from axis_checks import check_groups, described
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import analyze


def residual(middle: str, **weights: Any) -> dict[str, int | str]:
    """The groups of two convolutions with `middle` between, which reads `h` and writes `r`."""
    text = f"g (float[n,3,5,5] x) => (float[n,2,5,5] y) {{ h = Conv(x, a) {middle} y = Conv(r, c) }}"
    model = model_from(text, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1), **weights)
    return described(check_groups(model))


@pytest.mark.parametrize(
    "middle",
    [
        "r = Relu(h)",
        "r = LeakyRelu<alpha=0.1>(h)",
        "s = Sigmoid(h) r = Mul(h, s)",
        "low = Constant<value_float=-1.0>() r = Clip(h, low)",
        "d = Cast<to=11>(h) e = Exp(d) r = Cast<to=1>(e)",
        "r, mask = Dropout(h)",
        "z = Identity(h) m = Greater(h, z) r = Where(m, h, z)",
    ],
)
def test_unary_and_gates(middle: str) -> None:
    assert residual(middle)["h"] == 8


@pytest.mark.parametrize("shape", [(), (1,), (8, 1, 1), (1, 8, 1, 1), (1, 1, 1), (1, 1, 1, 5), (1, 8, 5, 5)])
@pytest.mark.parametrize("op", ["Add(h, k)", "Mul(k, h)", "PRelu(h, k)", "Max(h, k, k)"])
def test_constants_of_every_shape(op: str, shape: tuple[int, ...]) -> None:
    assert residual(f"r = {op}", k=weight(*shape))["h"] == 8


def test_sum_of_two_layers_is_one_group() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, a) r = Relu(h) k = Conv(r, b) s = Add(h, k) y = Conv(s, c) }"
    )
    analysis = check_groups(model_from(text, a=weight(8, 3, 1, 1), b=weight(8, 8, 1, 1), c=weight(2, 8, 1, 1)))
    assert described(analysis)["h +1"] == 8
    assert [use.node for use in analysis.group("h +1").consumers] == ["k", "y"]


def test_gate_of_one_channel_does_not_couple() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, a) g = Conv(x, b) s = Sigmoid(g) m = Mul(h, s) y = Conv(m, c) }"
    )
    model = model_from(text, a=weight(8, 3, 1, 1), b=weight(1, 3, 1, 1), c=weight(2, 8, 1, 1))
    assert described(check_groups(model)) == {"h": 8, "y": "`y` is an output of the graph"}


def test_sum_with_an_input_of_the_graph_stays() -> None:
    text = (
        "g (float[n,3,5,5] x, float[n,8,1,1] z) => (float[n,2,5,5] y) { h = Conv(x, a) s = Add(h, z) y = Conv(s, c) }"
    )
    model = model_from(text, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1))
    assert described(analyze(model))["h"] == "`z` is an input of the graph"


def test_unknown_size_may_broadcast() -> None:
    text = (
        "g (float[n,3,5,5] x, float[n,c,1,1] z) => (float[n,2,5,5] y) { h = Conv(x, a) s = Add(h, z) y = Conv(s, c) }"
    )
    model = model_from(text, a=weight(8, 3, 1, 1), c=weight(2, 8, 1, 1))
    assert described(analyze(model))["h"] == "`s` (Add) ties it to an axis that is never cut"


def test_squeeze_and_excite() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, a) p = GlobalAveragePool(h) q = Conv(p, d) r = Relu(q) e = Conv(r, u) s = HardSigmoid(e) "
        "m = Mul(h, s) y = Conv(m, c) }"
    )
    weights: dict[str, Any] = {
        "a": weight(8, 3, 1, 1),
        "d": weight(4, 8, 1, 1),
        "u": weight(8, 4, 1, 1),
        "c": weight(2, 8, 1, 1),
    }
    groups = described(check_groups(model_from(text, **weights)))
    assert (groups["h +1"], groups["q"]) == (8, 4)


def test_shared_constants_do_not_couple() -> None:
    """Equal tensors that were deduplicated: the layers that read one are independent, and so is what they keep."""
    text = (
        "g (float[n,8,5,5] x) => (float[n,8,5,5] y) "
        "{ h = Conv(x, w, z) r = Relu(h) k = Conv(r, w, z) q = Relu(k) y = Conv(q, w, z) }"
    )
    analysis = check_groups(model_from(text, w=weight(8, 8, 1, 1), z=np.zeros(8, np.float32)))
    assert [group.size for group in analysis.free] == [8, 8]
