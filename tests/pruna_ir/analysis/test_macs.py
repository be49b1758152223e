"""MACs, each rule against the count by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruna_ir.analysis.macs import count_macs
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'

COUNTED = {
    "conv: 8*6*6 outputs of 3*3*3": (
        8 * 6 * 6 * 27,
        "g (float[n,3,8,8] x, float[8,3,3,3] w) => (float[n,8,6,6] y) { y = Conv (x, w) }",
    ),
    "depthwise conv: one input channel a filter": (
        8 * 6 * 6 * 9,
        "g (float[n,8,8,8] x, float[8,1,3,3] w) => (float[n,8,6,6] y) { y = Conv <group = 8> (x, w) }",
    ),
    "fixed batch counts": (
        5 * 8 * 6 * 6 * 27,
        "g (float[5,3,8,8] x, float[8,3,3,3] w) => (float[5,8,6,6] y) { y = Conv (x, w) }",
    ),
    "transposed conv: every input element times a filter": (
        3 * 8 * 8 * 4 * 4,
        "g (float[n,3,8,8] x, float[3,4,2,2] w) => (float[n,4,9,9] y) { y = ConvTranspose (x, w) }",
    ),
    "batched matrix product": (
        4 * 5 * 6 * 7,
        "g (float[n,4,5,6] x, float[6,7] w) => (float[n,4,5,7] y) { y = MatMul (x, w) }",
    ),
    "gemm": (6 * 7, "g (float[n,6] x, float[7,6] w) => (float[n,7] y) { y = Gemm <transB = 1> (x, w) }"),
    "gemm, first factor transposed": (
        5 * 6 * 7,
        "g (float[6,5] x, float[6,7] w) => (float[5,7] y) { y = Gemm <transA = 1> (x, w) }",
    ),
    "lstm: 4 gates of 6, for 5 steps": (
        5 * 24 * (3 + 6),
        """g (float[5,1,3] x, float[1,24,3] w, float[1,24,6] r) => (float[5,1,1,6] y) {
            y = LSTM <hidden_size = 6> (x, w, r) }""",
    ),
    "the dearer branch of an If": (
        6 * 7,
        """g (float[n,6] x, float[6,7] w, bool b) => (float[n,7] y) {
            y = If (b) <
                then_branch = t () => (float[n,7] u) { u = MatMul (x, w) },
                else_branch = e () => (float[n,7] v) { k = ReduceSum <keepdims = 1> (x)
                    o = ReduceSum <keepdims = 0> (w)
                    a = Add (k, o)
                    s = Shape (x)
                    v = Expand (a, s) }
            > }""",
    ),
    "elementwise work is not counted": (0, "g (float[n,6] x) => (float[n,6] y) { y = Relu (x) }"),
    "a shape that is computed": (
        8 * 6 * 6 * 27,
        """g (float[n,3,8,8] x, float[8,3,3,3] w) => (float y) <int64[4] one = {1, 1, 1, 1}> {
            s = Shape (x)
            t = Mul (s, one)
            z = ConstantOfShape <value = float[1] {0}> (t)
            i = Add (x, z)
            c = Conv (i, w)
            y = ReduceMax <keepdims = 0> (c) }""",
    ),
}

UNKNOWN = {
    "`length` of `y`": "g (float[n,length,6] x, float[6,7] w) => (float[n,length,7] y) { y = MatMul (x, w) }",
    "no rule for `y` (Einsum)": """g (float[n,6] x, float[6,7] w) => (float[n,7] y) {
        y = Einsum <equation = "ab,bc->ac"> (x, w) }""",
    "runs an unknown number of times": """g (float[6,6] x, int64 m, bool c) => (float[6,6] y) {
        y = Loop (m, c, x) <body = b (int64 i, bool k, float[6,6] a) => (bool k2, float[6,6] a2) {
            k2 = Identity (k)
            a2 = MatMul (a, a) }> }""",
}


@pytest.mark.parametrize("what", COUNTED)
def test_counted(what: str) -> None:
    expected, text = COUNTED[what]
    assert count_macs(Model.from_text(HEADER + text)) == expected


@pytest.mark.parametrize("reason", UNKNOWN)
def test_unknown_says_why(reason: str) -> None:
    found = count_macs(Model.from_text(HEADER + UNKNOWN[reason]))
    assert isinstance(found, Unmeasured) and reason in found.reason


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20_cifar10", 40.55), ("mobilenetv2_100_imagenet", 300.8), ("squeezenet11_imagenet", 349.2)],
)
def test_published_counts(shared: Path, name: str, millions: float) -> None:
    assert count_macs(Model.load(shared / "models" / f"{name}.onnx")) == pytest.approx(millions * 1e6, rel=1e-3)
