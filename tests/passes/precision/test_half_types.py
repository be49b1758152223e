"""Which inputs and outputs of a node can be halves."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.precision.half_types import HALVES, Places, accepts_half, half_places

FLOAT16, BFLOAT16 = HALVES["float16"], HALVES["bfloat16"]


def last(model: Model) -> gs.Node:
    return model.graph.nodes[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }", Places((0,), (0,))),
        ("(float[2,3] x, float z) => (float[2,3] y) { y = Clip(x, , z) }", Places((0, 2), (0,))),
        ("(float[2,3] x, int64[2,3] e) => (float[2,3] y) { y = Pow(x, e) }", Places((0,), (0,))),
        ("(float[2,3] x, float[2,3] z) => (float[4,3] y) { y = Concat<axis=0>(x, z) }", Places((0, 1), (0,))),
        # Resize takes its scales, and gives its sizes, in types of their own.
        ("(float[1,1,2,2] x, float[4] s) => (float[1,1,4,4] y) { y = Resize(x, , s) }", Places((0,), (0,))),
        # An attribute says that the statistics are float32.
        (
            "(float[2,3] x, float[3] g) => (float[2,3] y, float[2,1] m) { y, m = LayerNormalization(x, g) }",
            Places((0, 1), (0,)),
        ),
        ("(int64[2] x) => (float[2] y) { y = Cast<to=1>(x) }", Places((), (0,))),
        (
            "(float[3,4] x) => (float[3,1] v, int64[3,1] i) { k = Constant<value_ints=[1]>() v, i = TopK(x, k) }",
            Places((0,), (0,)),
        ),
    ],
)
def test_places(text: str, expected: Places) -> None:
    node = last(model_from(f"g {text}"))
    assert half_places(node, 17, FLOAT16) == expected


@pytest.mark.parametrize(
    ("op", "domain", "reason"),
    [
        ("NonMaxSuppression", "", "ONNX has no NonMaxSuppression in float16"),
        ("Relu", "com.acme", "Relu is not an operator of ONNX's own"),
    ],
)
def test_operators_without_halves(op: str, domain: str, reason: str) -> None:
    node = last(model_from("g (float[4] x) => (float[4] y) { y = Relu(x) }"))
    node.op, node.domain = op, domain
    assert str(half_places(node, 17, FLOAT16)) == reason


def test_newer_opsets_have_more() -> None:
    node = last(model_from("g (float[1,2,4,4] x, float[2,2,1,1] w) => (float[1,2,4,4] y) { y = Conv(x, w) }"))
    assert "bfloat16" in str(half_places(node, 21, BFLOAT16))
    assert half_places(node, 22, BFLOAT16) == Places((0, 1), (0,))


def test_readers_of_either_type() -> None:
    shape = last(model_from("g (float[2,3] x) => (int64[2] y) { y = Shape(x) }"))
    boxes = last(model_from("g (float[1,2,4] b, float[1,1,2] s) => (int64[n,3] y) { y = NonMaxSuppression(b, s) }"))
    assert accepts_half(shape, 17, FLOAT16)
    assert not accepts_half(boxes, 17, FLOAT16)


@pytest.mark.parametrize(
    ("values", "float16", "bfloat16"),
    [
        ([1.0, -2.5, 0.0], True, True),
        ([70000.0], False, True),
        ([np.inf, -np.inf, np.nan, 1.0], True, True),
        ([-3.4e38], False, False),
        ([1e-12], False, True),
        ([1e-9, 1.0], True, True),
        ([0.0], True, True),
        ([], True, True),
    ],
)
def test_constants_that_fit(values: list[float], float16: bool, bfloat16: bool) -> None:
    constant = gs.Constant("c", np.array(values, np.float32))
    assert (FLOAT16.unfit_constant(constant) is None) == float16
    assert (BFLOAT16.unfit_constant(constant) is None) == bfloat16
