"""Axes that operators order or number."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, described
from axis_nets import net
from onnx_text import weight

from pruna_ir.analysis.axes import analyze


@pytest.mark.parametrize(
    ("node", "ends", "reason"),
    [
        ("y = ArgMax<axis=1>(h)", "int64[b,1,6,6] y", "`y` (ArgMax) numbers the indices of this axis"),
        ("y = ArgMin<axis=-3,keepdims=0>(h)", "int64[b,6,6] y", "`y` (ArgMin) numbers the indices of this axis"),
        (
            "y, z = TopK<axis=1>(h, k)",
            "float[b,2,6,6] y, int64[b,2,6,6] z",
            "`y` (TopK) orders the indices of this axis",
        ),
        ("y = NonZero(h)", "int64[4,n] y", "`y` (NonZero) has an output whose size depends on values"),
        ("y = CumSum(h, axis)", "float[b,8,6,6] y", "`y` (CumSum) is an operator without an axis rule"),
        ("y = LRN<size=3>(h)", "float[b,8,6,6] y", "`y` (LRN) sums over neighbouring channels"),
    ],
)
def test_reasons(node: str, ends: str, reason: str) -> None:
    """Pitfall 11: what numbers, orders or compares channels keeps them."""
    model = net(
        f"h = Conv(x, a) {node}",
        ends=f"g (float[b,3,6,6] x) => ({ends})",
        a=weight(8, 3, 1, 1),
        k=np.array([2]),
        axis=np.array(1),
    )
    assert described(analyze(model)) == {"h": reason}


def test_boxes_stay() -> None:
    """Pitfall 11: a detection head."""
    ends = "g (float[1,3] x, float[1,9,4] boxes) => (int64[n,3] y)"
    body = "h = MatMul(x, a) s = Reshape(h, s3) y = NonMaxSuppression(boxes, s)"
    model = net(body, ends=ends, a=weight(3, 18), s3=np.array([1, 2, 9]))
    assert str(analyze(model).groups[0].protected).startswith("`y` (NonMaxSuppression) compares boxes")


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("k1 = ArgMax<axis=1,keepdims=0>(h) t = Cast<to=1>(k1) y = MatMul(t, c)", "float[b,5] y"),
        ("t, i = TopK<axis=1>(h, two) y = MatMul(t, c)", "float[b,2,5] y"),
    ],
)
def test_other_axes_are_carried(node: str, shape: str) -> None:
    """Channels are free where positions are ordered."""
    ends = f"g (float[b,4,3] x) => ({shape})"
    stored = {"a": weight(3, 8), "c": weight(8, 5)} | ({"two": np.array([2])} if "two" in node else {})
    assert [group.size for group in check_groups(net(f"h = MatMul(x, a) {node}", stored, ends=ends)).free] == [8]


def test_a_triangle_keeps_both_of_its_axes() -> None:
    ends = "g (float[b,2,4,3] x) => (float[b,2,4,5] y)"
    model = net("h = MatMul(x, a) t = Trilu(h) y = MatMul(t, c)", ends=ends, a=weight(3, 8), c=weight(8, 5))
    assert described(analyze(model))["h"] == "`t` (Trilu) tells its indices apart by their numbers"
