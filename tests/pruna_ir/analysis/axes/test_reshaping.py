"""Axes of Reshape and Flatten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import TOKENS, net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import Options, Use, analyze

IMAGE = "g (float[1,3,6,6] x) => (float[1,5,6,6] y)"


@pytest.mark.parametrize("batch", [1, 2, "n"])
@pytest.mark.parametrize("flat", ["Flatten(h)", "Flatten<axis=-3>(h)", "Reshape(h, s)"])
def test_positions_of_a_channel_go_together(flat: str, batch: int | str) -> None:
    """Pitfall 5: the channels of a convolution lie far apart in the rows of the Gemm behind Flatten."""
    ends = f"g (float[{batch},3,6,6] x) => (float[{batch},5] y)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(8 * 36, 5)}
    if "s" in flat.partition("(")[2]:
        stored["s"] = np.array([0, -1])
    analysis = check_groups(net(f"h = Conv(x, a) f = {flat} y = Gemm(f, b)", stored, ends=ends))
    assert sizes(analysis) == {"h": 8}
    places = analysis.positions(analysis.group("h"), Use("y", 1, 0))
    assert places[1].tolist() == [*range(36, 72)]


@pytest.mark.parametrize("shape", [[1, 8, 36], [0, 8, -1], [1, 0, 36], [-1, 8, 36], [0, 0, -1]])
def test_literals_of_the_shape_follow(shape: list[int]) -> None:
    """Pitfall 5: sizes that the shape says, copies or leaves open."""
    ends = "g (float[1,3,6,6] x) => (float[1,5,36] y)"
    body = "h = Conv(x, a) r = Reshape(h, s) y = MatMul(b, r)"
    model = net(body, ends=ends, a=weight(8, 3, 1, 1), b=weight(5, 8), s=np.array(shape))
    analysis = check_groups(model)
    assert sizes(analysis) == {"h": 8}
    cut = check_removal(model, {"h": [0, 1, 2]}, analysis)
    (reshape,) = (node for node in cut.graph.nodes if node.op == "Reshape")
    assert reshape.inputs[1].values.tolist() == [5 if size == 8 else size for size in shape]


def test_a_copied_size_that_another_cut_changes_is_written_out() -> None:
    """The second entry copies the size of the channels, which happens to be that of the last axis."""
    ends = "g (float[6,3,4] x) => (float[6,5,4] y)"
    body = "h = MatMul(a, x) r = Reshape(h, s) e = Relu(r) k = Reshape(e, back) y = MatMul(b, k)"
    shapes = {"s": np.array([-1, 0]), "back": np.array([6, 4, 4])}
    model = net(body, shapes, ends=ends, a=weight(4, 3), b=weight(5, 4))
    analysis = check_groups(model)
    assert sizes(analysis) == {"h": 4}
    cut = check_removal(model, {"h": [2]}, analysis)
    targets = [node.inputs[1].values.tolist() for node in cut.graph.nodes if node.op == "Reshape"]
    assert targets == [[-1, 4], [6, 3, 4]]


def test_a_linear_layer_makes_channels() -> None:
    """Pitfall 5: Linear -> Reshape to images -> ConvTranspose; the positions stay, the channels are cut."""
    ends = "g (float[n,7] x) => (float[n,3,8,8] y)"
    body = "h = Gemm(x, a, b) r = Reshape(h, s) c = ConvTranspose<strides=[2,2]>(r, w) y = Conv(c, v)"
    stored = {"a": weight(7, 6 * 16), "b": weight(96), "w": weight(6, 4, 2, 2), "v": weight(3, 4, 1, 1)}
    analysis = check_groups(net(body, stored, ends=ends, s=np.array([-1, 6, 4, 4])))
    assert sizes(analysis) == {"h": 6, "c": 4}
    assert analysis.positions(analysis.group("h"), Use("h", 1, 1)).shape == (6, 16)


def test_channel_shuffle() -> None:
    """Pitfall 6: Reshape, Transpose, Reshape; the groups stay, and lose the same of each."""
    body = (
        "h = Conv(x, a) g = Reshape(h, s) t = Transpose<perm=[0,2,1,3,4]>(g) k = Reshape(t, back)"
        " d = Conv<group=8,pads=[1,1,1,1]>(k, w) y = Conv(d, b)"
    )
    stored = {"a": weight(8, 3, 1, 1), "w": weight(8, 1, 3, 3), "b": weight(5, 8, 1, 1)}
    shapes = {"s": np.array([1, 2, 4, 6, 6]), "back": np.array([1, 8, 6, 6])}
    analysis = check_groups(net(body, stored, shapes, ends=IMAGE))
    (group,) = analysis.free
    assert (group.name, group.size) == ("h", 4)
    assert analysis.positions(group, Use("h", 1, 0)).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert analysis.positions(group, Use("y", 1, 1)).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_shuffle_around_grouped_convolutions() -> None:
    body = (
        "h = Conv<group=1>(x, a) g = Reshape(h, s) t = Transpose<perm=[0,2,1,3,4]>(g) k = Reshape(t, back)"
        " d = Conv<group=2>(k, w) y = Conv(d, b)"
    )
    stored = {"a": weight(8, 3, 1, 1), "w": weight(8, 4, 1, 1), "b": weight(5, 8, 1, 1)}
    shapes = {"s": np.array([1, 2, 4, 6, 6]), "back": np.array([1, 8, 6, 6])}
    analysis = check_groups(net(body, stored, shapes, ends=IMAGE))
    assert list(sizes(analysis).values()) == [2, 4]


PROJECTION = "q = MatMul(x, a) s4 = Reshape(q, s) h = Transpose<perm=[0,2,1,3]>(s4) e = Relu(h)"
JOIN = "i = Transpose<perm=[0,2,1,3]>(e) j = Reshape(i, back) y = MatMul(j, c)"
SHAPES = {"s": np.array([0, 0, 3, 4]), "back": np.array([0, 0, 12])}


@pytest.mark.parametrize(("split", "size"), [("inner", 4), ("outer", 3)])
def test_which_factor_is_cut(split: Any, size: int) -> None:
    model = net(f"{PROJECTION} {JOIN}", SHAPES, ends=TOKENS, a=weight(6, 12), c=weight(12, 5))
    analysis = check_groups(model, Options(split=split))
    assert sizes(analysis) == {"q": size}


def test_the_factor_that_is_free_is_cut() -> None:
    """The heads' sizes meet an input of the graph, so the heads are cut although they stand outside."""
    ends = "g (float[b,t,6] x, float[1,1,1,4] z) => (float[b,t,5] y)"
    body = f"{PROJECTION.replace('Relu(h)', 'Mul(h, z)')} {JOIN}"
    analysis = check_groups(net(body, SHAPES, ends=ends, a=weight(6, 12), c=weight(12, 5)))
    assert sizes(analysis) == {"q": 3}


def test_heads_that_join_the_batch_stay() -> None:
    ends = "g (float[7,b,6] x) => (float[7,b,5] y)"
    body = "q = MatMul(x, a) r = Reshape(q, s) e = Relu(r) j = Reshape(e, back) y = MatMul(j, c)"
    shapes = {"s": np.array([7, -1, 4]), "back": np.array([7, -1, 12])}
    analysis = check_groups(net(body, shapes, ends=ends, a=weight(6, 12), c=weight(12, 5)))
    assert sizes(analysis) == {"q": 4}


def test_axes_without_common_factors_stay() -> None:
    ends = "g (float[2,3] x) => (float[3,8,5] y)"
    body = "h = MatMul(x, a) r = Reshape(h, s) y = MatMul(r, b)"
    model = net(body, ends=ends, a=weight(3, 36), b=weight(3, 5), s=np.array([3, 8, 3]))
    assert sizes(check_groups(model)) == {"h": 3}
    model = net(body, ends="g (float[4,3] x) => (float[3,5] y)", a=weight(3, 6), b=weight(8, 5), s=np.array([3, 8]))
    assert described(analyze(model))["h"] == "`r` (Reshape) joins and splits axes that have no common factors"


def test_open_axes_stay() -> None:
    ends = "g (float[b,3,h,w] x) => (float[b,m] y)"
    model = net("h1 = Conv(x, a) y = Flatten(h1)", ends=ends, a=weight(8, 3, 1, 1))
    assert (
        described(analyze(model))["h1"] == "`y` (Flatten) joins it with axes that are never cut, or splits it into such"
    )
    ends = "g (float[b,3,h,w] x) => (float[b,8,m] y)"
    model = net("c = Conv(x, a) r = Reshape(c, s) y = Relu(r)", ends=ends, a=weight(8, 3, 1, 1), s=np.array([0, 8, -1]))
    assert described(analyze(model)) == {"c": "`y` is an output of the graph"}


def test_a_computed_shape_is_limited_to_what_is_left() -> None:
    """Pitfall 5: Shape, Gather, Concat; the graph says the old size, which the cut corrects."""
    ends = "g (float[b,3,6,6] x) => (float[b,5,36] y)"
    body = (
        "h = Conv(x, a) n = Shape(h) i = Gather(n, zero) s = Concat<axis=0>(i, eight, last) r = Reshape(h, s)"
        " y = MatMul(w, r)"
    )
    stored = {"zero": np.array([0]), "eight": np.array([8]), "last": np.array([-1])}
    model = net(body, stored, ends=ends, a=weight(8, 3, 1, 1), w=weight(5, 8))
    assert sizes(check_groups(model)) == {"h": 8}


def test_shared_shape_constants_are_not_changed_for_others() -> None:
    ends = "g (float[1,3,6,6] x) => (float[1,5,36] y, float[1,8,36] z)"
    body = "h = Conv(x, a) r = Reshape(h, s) y = MatMul(b, r) k = Conv(x, c) z = Reshape(k, s)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8), "c": weight(8, 3, 1, 1, seed=1)}
    assert sizes(check_groups(net(body, stored, ends=ends, s=np.array([1, 8, 36])))) == {"h": 8}


def test_a_weight_behind_a_reshape() -> None:
    ends = "g (float[b,3] x) => (float[b,5] y)"
    body = "v = Reshape(a, s) h = MatMul(x, v) y = MatMul(h, b)"
    analysis = check_groups(net(body, ends=ends, a=weight(24), b=weight(8, 5), s=np.array([3, 8])))
    assert sizes(analysis) == {"h": 8}
    assert analysis.positions(analysis.group("h"), Use("v", 0, 0))[0].tolist() == [0, 8, 16]
