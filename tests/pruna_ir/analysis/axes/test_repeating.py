"""Axes of Expand, Tile, ConstantOfShape, Shape, Size and Range."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import analyze
from pruna_ir.testing import ops


@pytest.mark.parametrize("shape", [[1, 8, 6, 6], [1, 1, 6, 6], [6, 6]])
def test_an_expanded_axis_that_is_there_keeps_its_labels(shape: list[int]) -> None:
    """Pitfall 5: sizes in the shape of an Expand follow, those that it leaves open too."""
    body = "h = Conv(x, a) e = Expand(p, s) m = Mul(h, e) y = Conv(m, b)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1), "p": weight(1, 8, 1, 1)}
    assert sizes(check_groups(net(body, stored, s=np.array(shape)))) == {"h": 8}


def test_an_axis_that_is_expanded_follows_what_it_meets() -> None:
    body = "h = Conv(x, a) e = Expand(p, s) m = Mul(h, e) y = Conv(m, b)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1), "p": weight(1, 1, 6, 1)}
    model = net(body, stored, s=np.array([8, 6, 6]))
    cut = check_removal(model, {"h": [1, 2, 5]}, check_groups(model))
    (expand,) = (node for node in cut.graph.nodes if node.op == "Expand")
    assert expand.inputs[1].values.tolist() == [5, 6, 6]


def test_a_computed_shape_of_expand() -> None:
    """A token for each sample: the batch is computed, the channels are a number."""
    ends = "g (float[b,4,6] x) => (float[b,5,5] y)"
    body = (
        "h = MatMul(x, a) n = Shape(x) i = Gather(n, zero) s = Concat<axis=0>(i, rest) t = Expand(token, s)"
        " j = Concat<axis=1>(t, h) y = MatMul(j, c)"
    )
    stored = {"a": weight(6, 8), "token": weight(1, 1, 8), "c": weight(8, 5), "zero": np.array([0])}
    assert sizes(check_groups(net(body, stored, ends=ends, rest=np.array([1, 8])))) == {"h": 8}


@pytest.mark.parametrize("repeats", [[1, 2, 1, 1], [1, 1, 1, 2]])
def test_tile_repeats_labels(repeats: list[int]) -> None:
    width = 6 * repeats[3]
    ends = f"g (float[b,3,6,6] x) => (float[b,5,6,{width}] y)"
    body = "h = Conv(x, a) t = Tile(h, r) y = Conv(t, b)"
    stored = {"a": weight(4, 3, 1, 1), "b": weight(5, 4 * repeats[1], 1, 1)}
    assert sizes(check_groups(net(body, stored, ends=ends, r=np.array(repeats)))) == {"h": 4}


def test_a_tiled_axis_of_one_index_follows_what_it_meets() -> None:
    body = "h = Conv(x, a) t = Tile(p, r) m = Mul(h, t) y = Conv(m, b)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1), "p": weight(1, 1, 6, 6)}
    model = net(body, stored, r=np.array([1, 8, 1, 1]))
    cut = check_removal(model, {"h": [0]}, check_groups(model))
    (tile,) = (node for node in cut.graph.nodes if node.op == "Tile")
    assert tile.inputs[1].values.tolist() == [1, 7, 1, 1]


def test_tile_by_computed_repeats_stays() -> None:
    ends = "g (float[b,3,6,6] x, int64[4] r) => (float[n,c,h,w] y)"
    model = net("h1 = Conv(x, a) y = Tile(h1, r)", ends=ends, a=weight(4, 3, 1, 1))
    assert described(analyze(model)) == {"h1": "`y` (Tile) repeats its input a number of times that is not known"}


def test_constants_of_a_shape_follow() -> None:
    body = "h = Conv(x, a) o = ConstantOfShape(s) m = Sub(h, o) r = Relu(m) y = Conv(r, b)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1), "s": np.array([1, 8, 1, 1])}
    assert sizes(check_groups(net(body, stored))) == {"h": 8}


SCALED = (
    "h = MatMul(x, a) n = Shape(h) i = Gather(n, last) f = Cast<to=1>(i) s = Sqrt(f) d = Div(h, s) y = MatMul(d, c)"
)


def test_a_scale_that_is_computed_from_a_size_keeps_its_value() -> None:
    """Pitfall 10: 1 / sqrt(size of a head), computed in the graph, is what the weights were trained with."""
    ends = "g (float[b,6] x) => (float[b,5] y)"
    model = net(SCALED, ends=ends, a=weight(6, 8), c=weight(8, 5), last=np.array(1))
    analysis = check_groups(model)
    assert sizes(analysis) == {"h": 8}
    assert "Max" in ops(check_removal(model, {"h": [1]}, analysis))


def test_a_batch_that_is_read_from_a_shape_needs_no_repair() -> None:
    ends = "g (float[b,6] x) => (float[b,5] y)"
    model = net(SCALED, ends=ends, a=weight(6, 8), c=weight(8, 5), last=np.array(0))
    analysis = analyze(model)
    assert ops(check_removal(model, {"h": [1]}, analysis)) == ops(model)


def test_a_shape_that_is_an_output_stays() -> None:
    ends = "g (float[b,6] x) => (float[b,5] y, int64[2] n)"
    model = net("h = MatMul(x, a) n = Shape(h) y = MatMul(h, c)", ends=ends, a=weight(6, 8), c=weight(8, 5))
    analysis = check_groups(model)
    assert sizes(analysis) == {"h": 8}


def test_a_count_of_elements_stays() -> None:
    ends = "g (float[b,6] x) => (float[b,5] y, int64 n)"
    model = net("h = MatMul(x, a) n = Size(h) y = MatMul(h, c)", ends=ends, a=weight(6, 8), c=weight(8, 5))
    assert described(analyze(model))["h"] == "`n` (Size) counts its elements"


def test_a_range_is_not_cut() -> None:
    """Positions that are counted up and added to channels."""
    ends = "g (float[b,6] x) => (float[b,5] y)"
    body = "h = MatMul(x, a) r = Range(zero, eight, one) s = Add(h, r) y = MatMul(s, c)"
    numbers = {"zero": np.float32(0), "eight": np.float32(8), "one": np.float32(1)}
    model = net(body, numbers, ends=ends, a=weight(6, 8), c=weight(8, 5))
    assert not analyze(model).free
