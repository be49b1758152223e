"""Pad -> Conv or AveragePool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_pad_conv import FusePadConv
from pruna_ir.testing import check_pass, missed, ops

OUTPUT = "float[N,4,h,v] y"
PAD = "p = Pad(x, n)"
CONV = "y = Conv(p, w)"


def pad_and(
    body: str = f"{PAD} {CONV}", outputs: str = OUTPUT, inputs: str = "float[2,4,6,7] x", opset: int = 17, **given: Any
) -> Model:
    weights = {"n": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "w": weight(4, 4, 3, 3), **given}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=opset, **weights)


@pytest.mark.parametrize(
    ("conv", "pads"),
    [
        (CONV, [1, 2, 3, 0]),
        ("y = Conv <pads: ints = [1, 0, 0, 2]> (p, w)", [2, 2, 3, 2]),
        ('y = Conv <auto_pad: string = "VALID", strides: ints = [2, 2]> (p, w)', [1, 2, 3, 0]),
        ('y = Conv <auto_pad: string = "SAME_UPPER", strides: ints = [2, 2]> (p, w)', [1, 3, 4, 1]),
        ('y = Conv <auto_pad: string = "SAME_LOWER", strides: ints = [2, 1]> (p, w)', [2, 3, 3, 1]),
        ("y = Conv <group: int = 2, dilations: ints = [2, 2]> (p, w2)", [1, 2, 3, 0]),
    ],
)
def test_fires(conv: str, pads: list[int]) -> None:
    after, result = check_pass(FusePadConv(), pad_and(f"{PAD} {conv}", w2=weight(4, 2, 3, 3)))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-pad-conv": 1}
    assert after.graph.nodes[0].attrs["pads"] == pads


def test_two_pads_with_a_value_and_the_weight_computed() -> None:
    body = "p = Pad(x, n, zero) q = Pad(p, n) v = Neg(w) y = Conv(q, v)"
    after, result = check_pass(FusePadConv(), pad_and(body, zero=np.float32(0)))
    assert ops(after) == ["Neg", "Conv"]
    assert result.counts == {"fuse-pad-conv": 2}


def test_named_axes() -> None:
    body = 'p = Pad(x, n, "", axes) y = Conv(p, w)'
    after, _ = check_pass(FusePadConv(), pad_and(body, opset=18, n=np.array([1, 2]), axes=np.array([-1])))
    assert after.graph.nodes[0].attrs["pads"] == [0, 1, 0, 2]


@pytest.mark.parametrize("attributes", ["", ", count_include_pad: int = 1, pads: ints = [0, 0, 0, 1]"])
def test_average_pool(attributes: str) -> None:
    body = f"p = Pad(x, n) y = AveragePool <kernel_shape: ints = [4, 3], strides: ints = [2, 2]{attributes}> (p)"
    after, _ = check_pass(FusePadConv(), pad_and(body))
    assert ops(after) == ["AveragePool"]
    assert after.graph.nodes[0].attrs["count_include_pad"] == 1


def test_float16() -> None:
    model = pad_and(outputs="float16[N,4,h,v] y", inputs="float16[2,4,6,7] x", w=weight(4, 4, 3, 3, dtype="float16"))
    after, _ = check_pass(FusePadConv(), model, tolerance=5e-3)
    assert ops(after) == ["Conv"]


def test_shared_weight_stays() -> None:
    after, _ = check_pass(FusePadConv(), pad_and(f"{PAD} {CONV} z = Conv(x, w)", f"{OUTPUT}, float[N,4,4,5] z"))
    first, second = after.graph.nodes
    assert first.inputs[1] is second.inputs[1]


def test_inside_of_a_sub_graph() -> None:
    text = f"""r = If (c) <
        then_branch = t () => ({OUTPUT}) {{ {PAD} {CONV} }},
        else_branch = e () => (float[N,4,h,v] z) {{ z = Conv(x, w) }}
    >"""
    model = pad_and(text, "float[N,4,h,v] r", "bool c, float[2,4,6,7] x")
    after, _ = check_pass(FusePadConv(), model, feeds={"c": np.array(True), "x": weight(2, 4, 6, 7)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Conv"]


POOL = "kernel_shape: ints = [4, 3]"


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (f"{PAD} {CONV}", {"outputs": f"{OUTPUT}, float[N,4,10,9] p"}, "`p` is an output of the graph"),
        (f"{PAD} {CONV} z = Relu(p)", {"outputs": f"{OUTPUT}, float[N,4,10,9] z"}, "`p` has 2 users"),
        (f'p = Pad <mode: string = "edge"> (x, n) {CONV}', {}, "`p` is in mode `edge`"),
        (f"p = Pad(x, n, one) {CONV}", {"one": np.float32(1)}, "`p` adds other values than zeros"),
        (f"m = Neg(n) p = Pad(x, m) {CONV}", {"n": -np.array([0, 0, 1, 2, 0, 0, 3, 0])}, "`m` is not a constant"),
        (f"{PAD} {CONV}", {"n": np.array([0, 1, 0, 0, 0, -1, 0, 0])}, "`p` pads batch or channels"),
        (f"{PAD} {CONV}", {"n": np.array([0, 0, 1, 0, 0, 0, -1, 0])}, "`p` removes values"),
        (
            f'{PAD} y = Conv <auto_pad: string = "SAME_UPPER"> (p, w)',
            {"inputs": "float[2,4,H,7] x"},
            "the padding of `y` is SAME_UPPER, which is not known as numbers",
        ),
        (f"{PAD} y = AveragePool <{POOL}, ceil_mode: int = 1> (p)", {}, "`y` rounds its size up"),
        (
            f"{PAD} y = AveragePool <{POOL}, pads: ints = [1, 1, 1, 1]> (p)",
            {},
            "`y` does not count the zeros that it adds",
        ),
        (
            f'{PAD} y = AveragePool <{POOL}, auto_pad: string = "SAME_UPPER"> (p)',
            {},
            "the padding of `y` is SAME_UPPER",
        ),
        (f"{PAD} y = AveragePool <kernel_shape: ints = [2, 2]> (p)", {}, "`y` would pad by its whole window"),
    ],
)
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    model = pad_and(body, **changes)
    after, result = check_pass(FusePadConv(), model, feeds={"x": weight(2, 4, 6, 7)})
    assert missed(result) == [reason]
    assert "Pad" in ops(after)


def test_max_pool_is_no_match() -> None:
    _, result = check_pass(FusePadConv(), pad_and(f"{PAD} y = MaxPool <{POOL}> (p)"))
    assert missed(result) == []
    assert not result.changed


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_padding(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3), "rank")
    zeros, own = (data.draw(st.lists(st.integers(0, 3), min_size=2 * rank, max_size=2 * rank), "pads") for _ in "ab")
    strides, sizes = (data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank), what) for what in ("s", "k"))
    body = f"p = Pad(x, n) y = Conv <pads: ints = {own}, strides: ints = {strides}> (p, w)"
    image = ",".join(["N", "2", *["5"] * rank])
    output = ",".join(["N", "3", *(f"o{axis}" for axis in range(rank))])
    model = model_from(
        f"g (float[{image}] x) => (float[{output}] y) {{ {body} }}",
        opset=data.draw(st.integers(13, 24), "opset"),
        n=np.array([0, 0, *zeros[:rank], 0, 0, *zeros[rank:]]),
        w=weight(3, 2, *sizes),
    )
    after, _ = check_pass(FusePadConv(), model)
    assert ops(after) == ["Conv"]
