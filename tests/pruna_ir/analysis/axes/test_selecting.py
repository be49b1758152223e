"""Axes of Slice, Gather and Pad."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import AxisAnalysis, Use, analyze
from pruna_ir.model import Model
from pruna_ir.testing import ops


def sliced(taken: slice, *, size: int = 8) -> Model:
    """A convolution of `size` channels, of which a second one reads some, and a third one all."""
    count = len(range(size)[taken])
    lists = {"s": [taken.start], "e": [taken.stop], "ax": [1], "st": [taken.step]}
    return net(
        "h = Conv(x, a) p = Slice(h, s, e, ax, st) q = Conv(p, b) r = Conv(h, c) y = Add(q, r)",
        {name: np.array(values) for name, values in lists.items()},
        a=weight(size, 3, 1, 1),
        b=weight(5, count, 1, 1),
        c=weight(5, size, 1, 1, seed=1),
    )


FLIP = slice(-1, -(2**40), -1)


@pytest.mark.parametrize(
    "taken", [slice(0, 4, 1), slice(-3, 2**40, 1), slice(2, 7, 1), FLIP, slice(1, 8, 2), slice(6, 0, -3)]
)
def test_slice_selects_labels(taken: slice) -> None:
    """Pitfalls 5 and 7: starts, ends and steps follow; what is not sliced is a group of its own."""
    analysis = check_groups(sliced(taken))
    assert sum(sizes(analysis).values()) == 8
    for removed in range(8):
        check_removal(sliced(taken), one(analysis, removed), analysis)


def one(analysis: AxisAnalysis, channel: int) -> dict[str, list[int]]:
    """The channel of `h` as what to remove; nothing where it is the last of its group."""
    for group in analysis.free:
        places = analysis.positions(group, Use("h", 1, 0))[:, 0].tolist()
        if channel in places and group.size > 1:
            return {group.name: [places.index(channel)]}
    return {}


def test_scattered_indices_of_a_slice_are_gathered() -> None:
    model = sliced(slice(0, 8, 2))
    analysis = check_groups(model)
    cut = check_removal(model, one(analysis, 1), analysis)
    assert ops(cut).count("Gather") == 1
    cut = check_removal(model, {**one(analysis, 0), **one(analysis, 1)}, analysis)
    assert "Gather" not in ops(cut)


def test_slices_of_other_axes_stay_as_they_are() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,5,4,3] y)"
    lists = {
        "s": np.array([1, 2, 0]),
        "e": np.array([8, 6, 2**40]),
        "ax": np.array([1, -2, 3]),
        "st": np.array([1, 1, 2]),
    }
    body = "h = Conv(x, a) p = Slice(h, s, e, ax, st) y = Conv(p, b)"
    analysis = check_groups(net(body, lists, ends=ends, a=weight(8, 3, 1, 1), b=weight(5, 7, 1, 1)))
    assert sum(sizes(analysis).values()) >= 7


def test_slice_without_axes() -> None:
    ends = "g (float[6,3] x) => (float[2,5] y)"
    lists = {"s": np.array([0, 2]), "e": np.array([2, 8], np.int64)}
    model = net(
        "h = MatMul(x, a) p = Slice(h, s, e) y = MatMul(p, b)", lists, ends=ends, a=weight(3, 8), b=weight(6, 5)
    )
    assert sizes(check_groups(model)) == {"h": 2, "h #2": 6}


def test_slice_at_computed_places_stays() -> None:
    ends = "g (float[b,3,6,6] x, int64[1] s) => (float[b,m,6,6] y)"
    lists = {"e": np.array([8]), "ax": np.array([1])}
    model = net("h = Conv(x, a) y = Slice(h, s, e, ax)", lists, ends=ends, a=weight(8, 3, 1, 1))
    assert described(analyze(model)) == {"h": "`y` (Slice) slices it where the graph computes"}


def test_slice_of_unknown_axes_stays() -> None:
    ends = "g (float[b,3,6,6] x, int64[1] ax) => (float[b,m,h,w] y)"
    lists = {"s": np.array([0]), "e": np.array([4])}
    model = net("h1 = Conv(x, a) y = Slice(h1, s, e, ax)", lists, ends=ends, a=weight(8, 3, 1, 1))
    assert described(analyze(model)) == {"h1": "`y` (Slice) slices axes that are not known"}


@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [7, 2, -1, 0], [3, 3, 5, 3]])
def test_gather_of_channels(indices: list[int]) -> None:
    """Pitfall 7: indices of channels are renumbered, those that come twice go twice."""
    body = "h = Conv(x, a) p = Gather<axis=1>(h, i) q = Conv(p, b) r = Conv(h, c) y = Add(q, r)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 4, 1, 1), "c": weight(5, 8, 1, 1, seed=1)}
    model = net(body, stored, i=np.array(indices))
    analysis = check_groups(model)
    assert sum(sizes(analysis).values()) == 8
    for removed in range(8):
        check_removal(model, one(analysis, removed), analysis)


def test_gather_of_a_single_channel_keeps_it() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,5,6,6] y, float[b,6,6] z)"
    body = "h = Conv(x, a) y = Conv(h, b) z = Gather<axis=1>(h, i)"
    model = net(body, ends=ends, a=weight(8, 3, 1, 1), b=weight(5, 8, 1, 1), i=np.array(5))
    analysis = check_groups(model)
    assert list(sizes(analysis).values()) == [7]
    assert "`z` (Gather) takes this index by itself" in described(analysis).values()
    check_removal(model, {analysis.free[0].name: [0, 1, 6]}, analysis)


def test_gather_of_parts_of_a_packed_projection() -> None:
    """Queries, keys and values are parts of one axis, and lose the same of each."""
    ends = "g (float[b,6] x) => (float[b,5] y)"
    body = (
        "h = MatMul(x, a) r = Reshape(h, s) q = Gather<axis=1>(r, i0) k = Gather<axis=1>(r, i1) m = Mul(q, k)"
        " y = MatMul(m, c)"
    )
    lists = {"s": np.array([0, 3, 4]), "i0": np.array(0), "i1": np.array(-1)}
    assert sizes(check_groups(net(body, lists, ends=ends, a=weight(6, 12), c=weight(4, 5)))) == {"h": 4}


def test_rows_of_a_table_are_looked_up() -> None:
    """An embedding makes the columns; which rows are read is not known."""
    ends = "g (int64[b,t] x) => (float[b,t,5] y)"
    body = "h = Gather(table, x) y = MatMul(h, a)"
    analysis = check_groups(net(body, ends=ends, table=weight(11, 8), a=weight(8, 5)))
    assert sizes(analysis) == {"h": 8}
    assert analysis.group("h").producers == (Use("h", 0, 1),)


def test_gather_of_a_matrix_of_indices_keeps_what_it_takes() -> None:
    ends = "g (float[b,3] x) => (float[b,2,2] y)"
    model = net("h = MatMul(x, a) y = Gather<axis=1>(h, i)", ends=ends, a=weight(3, 8), i=np.array([[0, 1], [1, 2]]))
    described_groups = described(analyze(model))
    assert "`y` (Gather) takes this index by itself" in described_groups.values()


@pytest.mark.parametrize("opset", [17, 18])
def test_padded_channels(opset: int) -> None:
    """The shortcut of a residual network that pads channels with zeros: padding is cut by padding less."""
    ends = "g (float[b,3,6,6] x) => (float[b,5,6,6] y)"
    axes = {"pads": np.array([0, 1, 0, 0, 0, 3, 0, 0])}
    pad = "Pad(h, pads)"
    if opset == 18:
        axes, pad = (
            {"pads": np.array([1, 3]), "none": np.array(0, np.float32), "ax": np.array([-3])},
            "Pad(h, pads, none, ax)",
        )
    body = f"h = Conv(x, a) p = {pad} k = Conv(x, c) s = Add(p, k) r = Relu(s) y = Conv(r, b)"
    stored = {"a": weight(4, 3, 1, 1), "c": weight(8, 3, 1, 1, seed=1), "b": weight(5, 8, 1, 1)}
    model = net(body, stored, axes, ends=ends, opset=opset)
    analysis = check_groups(model)
    assert list(sizes(analysis).values()) == [4, 4], "padding and channels are of different forms"


def test_padding_of_positions_carries_channels() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,5,8,8] y)"
    body = 'h = Conv(x, a) p = Pad<mode="reflect">(h, pads) y = Conv(p, b)'
    stored = {"a": weight(4, 3, 1, 1), "b": weight(5, 4, 1, 1), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    assert sizes(check_groups(net(body, stored, ends=ends))) == {"h": 4}


def test_padding_that_takes_away() -> None:
    pads = np.array([0, -1, 0, 0, 0, -2, 0, 0])
    body = "h = Conv(x, a) p = Pad(h, pads) q = Conv(p, b) r = Conv(h, c) y = Add(q, r)"
    stored = {"a": weight(8, 3, 1, 1), "b": weight(5, 5, 1, 1), "c": weight(5, 8, 1, 1, seed=1)}
    assert sum(sizes(check_groups(net(body, stored, pads=pads))).values()) == 8


def test_padding_by_repetition_stays() -> None:
    ends = "g (float[b,3,6,6] x) => (float[b,6,6,6] y)"
    body = 'h = Conv(x, a) y = Pad<mode="edge">(h, pads)'
    model = net(body, ends=ends, a=weight(4, 3, 1, 1), pads=np.array([0, 1, 0, 0, 0, 1, 0, 0]))
    assert described(analyze(model)) == {"h": "`y` (Pad) repeats some of its indices"}


def test_padding_by_computed_amounts_stays() -> None:
    ends = "g (float[b,3,6,6] x, int64[8] pads) => (float[n,c,h,w] y)"
    model = net("h1 = Conv(x, a) y = Pad(h1, pads)", ends=ends, a=weight(4, 3, 1, 1))
    assert described(analyze(model)) == {"h1": "`y` (Pad) pads by amounts that are not known"}
