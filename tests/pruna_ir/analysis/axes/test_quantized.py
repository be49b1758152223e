"""Axes of operators on integers."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, described
from axis_nets import net
from onnx_text import positive, weight

from pruna_ir.analysis.axes import Use, analyze
from pruna_ir.model import Model
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.runtime.session import Session

ENDS = "g (float[1,3,6,6] x) => (float[1,5,6,6] y)"


def integers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, np.int8)


STEP = {"t": np.float32(0.05), "z": np.array(3, np.int8)}


def test_scales_of_weights_are_sliced() -> None:
    """Pitfall 13: scales and zero points of each channel, of the first and the second axis."""
    body = (
        "w = DequantizeLinear<axis=0>(a, sa, za) h = Conv(x, w, bias) q = QuantizeLinear(h, t, z)"
        " d = DequantizeLinear(q, t, z) v = DequantizeLinear<axis=1>(b, sb) y = Conv(d, v)"
    )
    scales = {"sa": positive(8) / 100, "za": zeros(8), "sb": positive(8, seed=1) / 100, "bias": weight(8)}
    analysis = check_groups(net(body, scales, STEP, a=integers(8, 3, 1, 1), b=integers(5, 8, 1, 1, seed=1), opset=21))
    (group,) = analysis.free
    assert (group.size, group.producers, group.consumers) == (8, (Use("h", 1, 0),), (Use("y", 1, 1),))
    assert {Use("w", 0, 0), Use("w", 1, 0), Use("w", 2, 0), Use("v", 1, 0)} <= {*group.carriers}


def test_negative_axis() -> None:
    ends = "g (float[b,3] x) => (float[b,5] y)"
    body = "w = DequantizeLinear<axis=-1>(a, s) h = MatMul(x, w) y = MatMul(h, c)"
    analysis = check_groups(net(body, ends=ends, a=integers(3, 8), s=positive(8), c=weight(8, 5), opset=21))
    assert [group.size for group in analysis.free] == [8]


def test_blocks_of_an_axis_stay() -> None:
    """Pitfall 13: a scale for each block along the axis that is summed over; the columns are free."""
    ends = "g (float[b,3] x) => (float[b,5] y)"
    body = "h = MatMul(x, a) w = DequantizeLinear<axis=0,block_size=4>(b, s) k = MatMul(h, w) y = MatMul(k, c)"
    model = net(body, ends=ends, a=weight(3, 8), b=integers(8, 6), s=positive(2, 6), c=weight(6, 5), opset=21)
    assert described(check_groups(model)) == {
        "h": "`w` (DequantizeLinear) has a scale for each block of it",
        "k": 6,
        "y": "`y` is an output of the graph",
    }


def test_ranges_at_run_time() -> None:
    """The scale comes from the extremes of what is left."""
    ends = "g (float[b,3] x) => (float[b,5] y)"
    body = "h = MatMul(x, a) q, s, z = DynamicQuantizeLinear(h) d = DequantizeLinear(q, s, z) y = MatMul(d, c)"
    analysis = check_groups(net(body, ends=ends, a=weight(3, 8), c=weight(8, 5), opset=21))
    assert [(group.size, group.reduces) for group in analysis.free] == [(8, ("q",))]


CONV = (
    "i = QuantizeLinear(x, t, z) h = QLinearConv(i, t, z, a, sa, za, t, z, bias)"
    " k = QLinearConv(h, t, z, b, sb, zb, t, z) y = DequantizeLinear(k, t, z)"
)


def qlinear_conv(consumer: np.ndarray, *, each: bool) -> Model:
    count = (8,) if each else ()
    return net(
        CONV,
        STEP,
        a=integers(8, 3, 1, 1),
        sa=(positive(*count) / 50).astype(np.float32),
        za=np.zeros(count, np.int8),
        bias=np.arange(8, dtype=np.int32) * 30,
        b=consumer,
        sb=np.float32(0.01),
        zb=np.int8(0),
        opset=21,
    )


@pytest.mark.parametrize("each", [False, True])
def test_integer_convolutions(each: bool) -> None:
    """Removing channels is the same as weights of zero, with the zero point in the place of what they read."""
    consumer = integers(5, 8, 1, 1, seed=1)
    model = qlinear_conv(consumer, each=each)
    analysis = analyze(model)
    (group,) = analysis.free
    assert (group.size, group.producers, group.consumers) == (8, (Use("h", 3, 0),), (Use("k", 3, 1),))
    cut = model.clone()
    remove(cut, analysis, {group.name: [1, 6]})
    cut.check()
    without = consumer.copy()
    without[:, [1, 6]] = 0
    reference = Session(qlinear_conv(without, each=each))
    feeds, expected = runnable_feeds(reference.run, reference.inputs)
    np.testing.assert_array_equal(Session(cut).run(feeds)["y"], expected["y"])


def test_groups_of_integers_stay() -> None:
    body = "i = QuantizeLinear(x, t, z) h = QLinearConv<group=3>(i, t, z, a, s, zs, t, z) y = DequantizeLinear(h, t, z)"
    ends = "g (float[1,3,6,6] x) => (float[1,6,6,6] y)"
    model = net(body, STEP, ends=ends, a=integers(6, 1, 1, 1), s=np.float32(0.1), zs=np.int8(0), opset=21)
    assert not analyze(model).free


@pytest.mark.parametrize("each", [False, True])
def test_integer_products(each: bool) -> None:
    ends = "g (float[4,3] x) => (float[4,5] y)"
    body = (
        "i = QuantizeLinear(x, t, z) h = QLinearMatMul(i, t, z, a, sa, za, t, z)"
        " d = DequantizeLinear(h, t, z) y = MatMul(d, c)"
    )
    count = (8,) if each else ()
    scales = {"sa": (positive(*count) / 50).astype(np.float32), "za": np.zeros(count, np.int8)}
    analysis = check_groups(net(body, scales, STEP, ends=ends, a=integers(3, 8), c=weight(8, 5), opset=21))
    assert [group.size for group in analysis.free] == [8]


def test_products_of_integers_with_ranges_at_run_time() -> None:
    ends = "g (float[4,3] x) => (float[4,5] y)"
    body = (
        "i, s, z = DynamicQuantizeLinear(x) h = MatMulInteger(i, a, z, za) f = Cast<to=1>(h) g1 = Mul(f, s)"
        " d = Mul(g1, sa) y = MatMul(d, c)"
    )
    scales = {"sa": positive(8) / 50, "za": np.zeros(8, np.int8)}
    analysis = check_groups(net(body, scales, ends=ends, a=integers(3, 8), c=weight(8, 5), opset=21))
    assert [group.size for group in analysis.free] == [8]


def test_integer_sums_of_convolutions() -> None:
    body = "i, s, z = DynamicQuantizeLinear(x) h = ConvInteger(i, a, z) f = Cast<to=1>(h) y = Conv(f, c)"
    model = net(body, a=integers(8, 3, 1, 1).view(np.uint8), c=weight(5, 8, 1, 1), opset=21)
    assert [group.size for group in check_groups(model).free] == [8]


def test_several_scales_for_one() -> None:
    """A scale for each row of the first factor."""
    ends = "g (float[4,3] x) => (float[4,8] y)"
    body = "i = QuantizeLinear(x, t, z) h = QLinearMatMul(i, rows, zr, a, sa, za, t, z) y = DequantizeLinear(h, t, z)"
    scales = {"rows": positive(4), "zr": zeros(4), "sa": np.float32(0.1), "za": np.int8(0)}
    groups = analyze(net(body, scales, STEP, ends=ends, a=integers(3, 8), opset=21)).groups
    assert not [group for group in groups if group.protected is None]
