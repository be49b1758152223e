"""Axes of Transpose, Squeeze, Unsqueeze, DepthToSpace and SpaceToDepth."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import Use, analyze


def test_transpose_carries_channels_to_the_last_axis() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,6,6,5] y)"
    body = "h = Conv(x, a) t = Transpose<perm=[0,2,3,1]>(h) y = MatMul(t, b)"
    assert sizes(check_groups(net(body, ends=ends, a=weight(8, 3, 1, 1), b=weight(8, 5)))) == {"h": 8}


def test_transpose_without_an_order_turns_axes_around() -> None:
    """Pitfall 10: the weight of a linear layer, transposed by a node."""
    ends = "g (float[b,3] x) => (float[b,5] y)"
    body = "w = Transpose(a) h = MatMul(x, w) y = MatMul(h, b)"
    analysis = check_groups(net(body, ends=ends, a=weight(8, 3), b=weight(8, 5)))
    assert sizes(analysis) == {"h": 8}
    assert analysis.positions(analysis.group("h"), Use("w", 0, 0)).shape == (8, 1)


def test_a_hidden_tie_of_a_weight_and_its_transpose_is_no_tie() -> None:
    """Pitfall 1: the same values stored for two layers, one of which reads them transposed."""
    ends = "g (float[b,8] x) => (float[b,8] y)"
    body = "h = MatMul(x, a) r = Relu(h) w = Transpose(a) y = MatMul(r, w)"
    assert sizes(check_groups(net(body, ends=ends, a=weight(8, 8)))) == {"h": 8}


@pytest.mark.parametrize("axes", ["one", "minus"])
def test_unsqueeze_and_squeeze(axes: str) -> None:
    body = f"h = Conv(x, a) u = Unsqueeze(h, {axes}) r = Relu(u) s = Squeeze(r, {axes}) y = Conv(s, b)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1), "one": np.array([1]), "minus": np.array([-4])}
    model = net(body, {name: values for name, values in stored.items() if name in ("a", "b", axes)})
    assert sizes(check_groups(model)) == {"h": 8}


def test_squeeze_of_all_axes_of_size_one_names_them() -> None:
    """What is left of one channel is not squeezed away."""
    ends = "g (float[3,1,2] x) => (float[5,2] y)"
    body = "h = Conv(u, a) p = Squeeze(h) y = MatMul(b, p)"
    body = f"u = Transpose<perm=[1,0,2]>(x) {body}"
    model = net(body, ends=ends, a=weight(4, 3, 1), b=weight(5, 4))
    cut = check_removal(model, {"h": [0, 1, 3]}, check_groups(model))
    (squeeze,) = (node for node in cut.graph.nodes if node.op == "Squeeze")
    assert squeeze.inputs[1].values.tolist() == [0]


def test_squeeze_of_open_axes_stays() -> None:
    body = "h = Conv(x, a) y = Squeeze(h)"
    model = net(body, ends="g (float[1,3,n,6] x) => (float[8,m,6] y)", a=weight(8, 3, 1, 1))
    assert described(analyze(model)) == {"h": "`y` (Squeeze) removes axes that are not known"}


@pytest.mark.parametrize(("mode", "places"), [("DCR", [0, 4, 8, 12]), ("CRD", [0, 1, 2, 3])])
def test_depth_to_space(mode: str, places: list[int]) -> None:
    """The channels that become the positions of one channel go together."""
    ends = "g (float[b,3,6,6] x) => (float[b,5,12,12] y)"
    body = f'h = Conv(x, a) d = DepthToSpace<blocksize=2,mode="{mode}">(h) y = Conv(d, b)'
    analysis = check_groups(net(body, ends=ends, a=weight(16, 3, 1, 1), b=weight(5, 4, 1, 1)))
    assert sizes(analysis) == {"h": 4}
    assert analysis.positions(analysis.group("h"), Use("h", 1, 0))[0].tolist() == places


def test_depth_to_space_of_one_channel_stays() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,1,12,12] y)"
    model = net("h = Conv(x, a) y = DepthToSpace<blocksize=2>(h)", ends=ends, a=weight(4, 3, 1, 1))
    assert described(analyze(model)) == {"h": "`y` (DepthToSpace) takes this index by itself"}


def test_space_to_depth() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,5,3,3] y)"
    body = "h = Conv(x, a) d = SpaceToDepth<blocksize=2>(h) y = Conv(d, b)"
    analysis = check_groups(net(body, ends=ends, a=weight(4, 3, 1, 1), b=weight(5, 16, 1, 1)))
    assert sizes(analysis) == {"h": 4}
    assert analysis.positions(analysis.group("h"), Use("y", 1, 1))[1].tolist() == [1, 5, 9, 13]


def test_space_to_depth_of_one_channel_stays() -> None:
    """Channels that are positions of the only one are not cut."""
    ends = "g (float[b,1,6,6] x) => (float[b,5,3,3] y)"
    body = "d = SpaceToDepth<blocksize=2>(x) h = Conv(d, a) y = Conv(h, b)"
    assert sizes(check_groups(net(body, ends=ends, a=weight(8, 4, 1, 1), b=weight(5, 8, 1, 1)))) == {"h": 8}
