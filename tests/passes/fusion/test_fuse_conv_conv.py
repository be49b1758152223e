"""Conv -> Conv with nothing between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_conv_conv import FuseConvConv
from pruna_ir.testing import check_pass, missed, ops, run_pass

PAD = "pads: ints = [1, 1, 1, 1]"
NARROW, WIDE = (
    {"w": weight(16, 3, 1, 1), "v": weight(4, 16, 3, 3)},
    {"w": weight(16, 3, 3, 3), "v": weight(4, 16, 1, 1)},
)


def convs(body: str, outputs: str = "float[2,4,p,q] y", inputs: str = "float[2,3,7,8] x", **weights: Any) -> Model:
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", a=weight(16), b=weight(4), **weights)


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("t = Conv(x, w) y = Conv(t, v)", NARROW),
        (f"t = Conv(x, w) y = Conv <{PAD}, strides: ints = [2, 1]> (t, v, b)", NARROW),
        ("t = Conv(x, w, a) y = Conv <dilations: ints = [2, 1]> (t, v)", NARROW),
        ('t = Conv(x, w) y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]> (t, v)', NARROW),
        ("t = Conv(x, w, a) y = Conv(t, v, b)", WIDE),
        (f"t = Conv <{PAD}> (x, w, a) y = Conv <strides: ints = [2, 3]> (t, v)", WIDE),
        ('t = Conv <auto_pad: string = "SAME_LOWER", strides: ints = [2, 1]> (x, w, a) y = Conv(t, v)', WIDE),
        (f"t = Conv <{PAD}, dilations: ints = [1, 2], strides: ints = [2, 2]> (x, w) y = Conv(t, v, b)", WIDE),
        (
            "t = Conv <strides: ints = [2, 2]> (x, w) y = Conv(t, v)",
            {"w": weight(16, 3, 1, 1), "v": weight(4, 16, 1, 1)},
        ),
    ],
)
def test_fires(body: str, weights: dict[str, Any]) -> None:
    after, result = check_pass(FuseConvConv(), convs(body, **weights))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-conv-conv": 1}


def test_float16() -> None:
    half = {name: values.astype(np.float16) for name, values in NARROW.items()}
    case = convs("t = Conv(x, w) y = Conv(t, v)", "float16[2,4,p,q] y", "float16[2,3,7,8] x", **half)
    after, _ = check_pass(FuseConvConv(), case, tolerance=5e-3)
    assert after.graph.nodes[0].inputs[1].dtype == np.float16


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        ("t = Conv(x, w) y = Conv(t, v)", {"outputs": "float[2,4,p,q] y, float[2,16,7,8] t"},
         "`t` is an output of the graph"),
        ("t = Conv(x, w) y = Conv(t, v) z = Neg(t)", {"outputs": "float[2,4,p,q] y, float[2,16,7,8] z"},
         "`t` has 2 users"),
        ("t = Conv(x, w) y = Conv(t, v) z = Neg(v)", {"outputs": "float[2,4,p,q] y, float[4,16,3,3] z"},
         "`v` has 2 users"),
        (f"t = Conv(x, w, a) y = Conv <{PAD}> (t, v)", {},
         "`y` pads with zeros, which the bias before it does not reach"),
        (f"t = Conv <{PAD}> (x, w) y = Conv(t, v)", {}, "`t` pads or strides"),
        ("t = Conv(x, w) y = Conv <pads: ints = [2, 1, 1, 1]> (t, v)", {}, "`y` pads by more than its kernel"),
        ("t = Conv(x, w) y = Conv(t, v)", {"w": weight(16, 3, 3, 3)}, "neither Conv is 1x1 without padding"),
        ("t = Conv(x, w) y = Conv(t, v)", {"w": weight(2, 3, 1, 1), "v": weight(4, 2, 3, 3)},
         "the joint weight [4, 3, 3, 3] would be larger than (2, 3, 1, 1) and (4, 2, 3, 3)"),
        ("t = Conv(x, w) y = Conv <group: int = 2> (t, v)", {"v": weight(4, 8, 3, 3)}, "`y` has 2 groups"),
        ("u = Neg(w) t = Conv(x, u) y = Conv(t, v)", {}, "`u` is not a constant"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    _, result = check_pass(FuseConvConv(), convs(body, **{**NARROW, **changes}))
    assert missed(result) == [reason]
    assert not result.changed


def test_overflow() -> None:
    large: dict[str, Any] = {
        "w": np.full((16, 3, 1, 1), 1e30, np.float32),
        "v": np.full((4, 16, 3, 3), 1e30, np.float32),
    }
    result = run_pass(FuseConvConv(), convs("t = Conv(x, w) y = Conv(t, v)", **large))
    assert missed(result) == ["the fused weight would not be finite in float32"]


def test_inside_of_a_sub_graph() -> None:
    text = """y = If (p) <
        then_branch = f () => (float[2,4,5,6] r) { t = Conv(x, w) r = Conv(t, v) },
        else_branch = e () => (float[2,4,5,6] s) { s = Conv(x, u) }
    >"""
    case = convs(text, "float[2,4,5,6] y", "float[2,3,7,8] x, bool p", u=weight(4, 3, 3, 3), **NARROW)
    after, _ = check_pass(FuseConvConv(), case, feeds={"p": np.array(True), "x": weight(2, 3, 7, 8)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Conv"]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_geometry(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2), "rank")
    first = data.draw(st.booleans(), "the 1x1 first")

    def numbers(low: int, high: int, count: int = rank) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    sizes, ones = numbers(1, 3), [1] * rank
    wide = f"strides: ints = {numbers(1, 3)}, dilations: ints = {numbers(1, 2)}, pads: ints = {numbers(0, 2, 2 * rank)}"
    narrow = f"strides: ints = {ones if first else numbers(1, 3)}"
    attributes, kernels = ((narrow, wide), (ones, sizes)) if first else ((wide, narrow), (sizes, ones))
    image = ",".join(["2", "3", *["9"] * rank])
    output = ",".join(["2", "4", *(f"o{axis}" for axis in range(rank))])
    body = f"t = Conv <{attributes[0]}> (x, w) y = Conv <{attributes[1]}> (t, v, b)"
    text = f"g (float[{image}] x) => (float[{output}] y) {{ {body} }}"
    case = model_from(text, opset=data.draw(st.integers(13, 24), "opset"), w=weight(16, 3, *kernels[0]),
                      v=weight(4, 16, *kernels[1], seed=1), b=weight(4))  # fmt: skip
    after, result = check_pass(FuseConvConv(), case)
    assert ops(after) == ["Conv"] * (1 if result.changed else 2)
