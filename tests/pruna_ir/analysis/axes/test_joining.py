"""Axes of Concat and Split."""

from __future__ import annotations

import numpy as np
from axis_checks import check_groups, described
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import Use, analyze


def test_concat_keeps_groups_apart() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, a) k = Conv(x, b) j = Concat<axis=1>(h, k, h) y = Conv(j, c) }"
    )
    analysis = check_groups(model_from(text, a=weight(8, 3, 1, 1), b=weight(4, 3, 1, 1), c=weight(2, 20, 1, 1)))
    assert described(analysis) == {"h": 8, "k": 4, "y": "`y` is an output of the graph"}
    assert analysis.positions(analysis.group("h"), Use("y", 1, 1))[1].tolist() == [1, 13]
    assert analysis.positions(analysis.group("k"), Use("y", 1, 1))[1].tolist() == [9]


def test_concat_with_what_stays() -> None:
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, a) g = Conv(x, b) j = Concat<axis=-3>(x, h, g) y = Conv(j, c) }"
    )
    analysis = check_groups(model_from(text, a=weight(8, 3, 1, 1), b=weight(1, 3, 1, 1), c=weight(2, 12, 1, 1)))
    assert [(group.name, group.size) for group in analysis.free] == [("h", 8)]


def test_concat_with_a_part_of_unknown_size_stays() -> None:
    text = "g (float[n,3,5,5] x, float[n,k,5,5] z) => (float[n,m,5,5] y) { h = Conv(x, a) y = Concat<axis=1>(h, z) }"
    analysis = analyze(model_from(text, a=weight(8, 3, 1, 1)))
    assert described(analysis) == {"h": "`y` (Concat) joins it with a part of unknown size"}


def test_concat_along_rows_ties_channels() -> None:
    text = (
        "g (float[1,6,3] x) => (float[1,7,2] y) "
        "{ h = MatMul(x, a) j = Concat<axis=1>(t, h) s = Add(j, p) y = MatMul(s, c) }"
    )
    model = model_from(text, a=weight(3, 8), t=weight(1, 1, 8), p=weight(1, 7, 8), c=weight(8, 2))
    (group,) = check_groups(model).free
    assert (group.name, group.size) == ("h", 8)
    assert {Use("j", 0, 2), Use("s", 1, 2)} <= {*group.carriers}


def split(how: str, *, opset: int = 17, **weights: np.ndarray) -> dict[str, int | str]:
    """The groups where a convolution of 8 channels is parted into `p` and `q`, of which one is gated by the other."""
    text = (
        "g (float[n,3,5,5] x) => (float[n,2,5,5] y) "
        f"{{ h = Conv(x, a) p, q = {how} s = Sigmoid(q) e = Conv(p, b) m = Mul(e, s) y = Conv(m, c) }}"
    )
    rest = 8 - weights.get("parts", np.array([4, 4]))[0]
    first = 8 - rest
    weights |= {"a": weight(8, 3, 1, 1), "b": weight(rest, first, 1, 1), "c": weight(2, rest, 1, 1)}
    return described(check_groups(model_from(text, opset=opset, **weights)))


def test_parts_are_groups() -> None:
    assert split("Split<axis=1>(h, parts)", parts=np.array([3, 5])) == {
        "h": 3,
        "h +1": 5,
        "y": "`y` is an output of the graph",
    }


def test_equal_parts_become_unequal() -> None:
    assert split("Split<axis=1>(h)") == {"h": 4, "h +1": 4, "y": "`y` is an output of the graph"}


def test_number_of_parts() -> None:
    assert split("Split<axis=-3, num_outputs=2>(h)", opset=18)["h"] == 4


def test_gated_halves_go_together() -> None:
    text = (
        "g (float[n,3] x) => (float[n,2] y) "
        "{ h = MatMul(x, a) p, q = Split<axis=1>(h) s = Sigmoid(q) m = Mul(p, s) y = MatMul(m, c) }"
    )
    analysis = check_groups(model_from(text, a=weight(3, 8), c=weight(4, 2)))
    (group,) = analysis.free
    assert analysis.positions(group, Use("h", 1, 1)).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_split_along_rows() -> None:
    text = (
        "g (float[6,3] x) => (float[4,2] y) "
        "{ h = MatMul(x, a) p, q = Split<axis=0>(h, parts) r = Relu(p) y = MatMul(r, c) }"
    )
    model = model_from(text, a=weight(3, 8), c=weight(8, 2), parts=np.array([4, 2]))
    assert described(check_groups(model)) == {"h": 8, "y": "`y` is an output of the graph"}


def test_one_channel_by_itself_stays() -> None:
    text = (
        "g (float[n,3] x) => (float[n,2] y) "
        "{ h = MatMul(x, a) p, q = Split<axis=1>(h, parts) m = Mul(p, q) y = MatMul(m, c) }"
    )
    analysis = check_groups(model_from(text, a=weight(3, 8), c=weight(7, 2), parts=np.array([7, 1])))
    assert described(analysis) == {
        "h": 7,
        "h #2": "`p` (Split) takes this index by itself",
        "y": "`y` is an output of the graph",
    }
