"""Axes of recurrent layers: hidden units."""

from __future__ import annotations

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import Use, analyze

HIDDEN, FEATURES = 6, 4
STEPS = "g (float[7,2,4] x) => (float[7,2,5] y)"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def stored(op: str, directions: int = 1) -> dict[str, np.ndarray]:
    rows = GATES[op] * HIDDEN
    return {
        "w": weight(directions, rows, FEATURES, seed=1),
        "r": weight(directions, rows, HIDDEN, seed=2),
        "b": weight(directions, 2 * rows, seed=3),
        "p": weight(directions, 3 * HIDDEN, seed=4),
        "h0": weight(directions, 2, HIDDEN, seed=5),
        "c0": weight(directions, 2, HIDDEN, seed=6),
        "c": weight(directions * HIDDEN, 5, seed=7),
        "back": np.array([7, 2, directions * HIDDEN]),
        "one": np.array([1]),
    }


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("inputs", ["x, w, r", "x, w, r, b", "x, w, r, b, , h0"])
def test_hidden_units(op: str, inputs: str) -> None:
    """Pitfall 14: a unit has a row of every gate, a column of the recurrence, and a place in the states."""
    body = f"s = {op}<hidden_size={HIDDEN}>({inputs}) t = Squeeze(s, one) y = MatMul(t, c)"
    model = net(body, stored(op), ends=STEPS)
    analysis = check_groups(model)
    (group,) = analysis.free
    assert group.size == HIDDEN
    assert analysis.positions(group, Use("s", 1, 1))[1].tolist() == [1 + HIDDEN * gate for gate in range(GATES[op])]
    assert set(group.consumers) == {Use("s", 2, 2), Use("y", 1, 0)}
    (node,) = (node for node in check_removal(model, {group.name: [0, 2]}).graph.nodes if node.op == op)
    assert node.attrs["hidden_size"] == HIDDEN - 2


def test_cell_states_and_peepholes() -> None:
    body = f"s = LSTM<hidden_size={HIDDEN}>(x, w, r, b, , h0, c0, p) t = Squeeze(s, one) y = MatMul(t, c)"
    assert list(sizes(check_groups(net(body, stored("LSTM"), ends=STEPS))).values()) == [HIDDEN]


@pytest.mark.parametrize("before", [0, 1])
def test_reset_before_the_product(before: int) -> None:
    layer = f"GRU<hidden_size={HIDDEN},linear_before_reset={before}>"
    body = f"s = {layer}(x, w, r, b) t = Squeeze(s, one) y = MatMul(t, c)"
    assert list(sizes(check_groups(net(body, stored("GRU"), ends=STEPS))).values()) == [HIDDEN]


def test_both_directions_lose_the_same_units() -> None:
    body = (
        f'h1, hn = LSTM<hidden_size={HIDDEN},direction="bidirectional">(x, w, r, b) t = Transpose<perm=[0,2,1,3]>(h1)'
        " s = Reshape(t, back) y = MatMul(s, c)"
    )
    analysis = check_groups(net(body, stored("LSTM", 2), ends=STEPS))
    (group,) = analysis.free
    assert group.size == HIDDEN
    assert analysis.positions(group, Use("y", 1, 0))[1].tolist() == [1, 1 + HIDDEN]


def test_stacked_layers() -> None:
    """The units of one layer are the features of the next; the last state is read too."""
    body = (
        f"s = LSTM<hidden_size={HIDDEN}>(x, w, r) t = Squeeze(s, one)"
        f" q, z = GRU<hidden_size=3>(t, w2, r2) u = Squeeze(z, zero) y = MatMul(u, c2)"
    )
    more = {"w2": weight(1, 9, HIDDEN), "r2": weight(1, 9, 3), "c2": weight(3, 5), "zero": np.array([0])}
    analysis = check_groups(net(body, stored("LSTM"), more, ends="g (float[7,2,4] x) => (float[2,5] y)"))
    assert list(sizes(analysis).values()) == [HIDDEN, 3]
    assert Use("q", 1, 2) in analysis.free[0].consumers


def test_features_and_lengths() -> None:
    ends = "g (float[7,2,3] x, int32[2] n) => (float[7,2,5] y)"
    body = f"f = MatMul(x, e) s = GRU<hidden_size={HIDDEN}>(f, w, r, b, n) t = Squeeze(s, one) y = MatMul(t, c)"
    assert sizes(check_groups(net(body, stored("GRU"), ends=ends, e=weight(3, FEATURES)))) == {
        "f": FEATURES,
        "s": HIDDEN,
    }


def test_batch_first() -> None:
    """ONNX Runtime does not run it on CPUs: only what the rule says."""
    ends = "g (float[2,7,4] x) => (float[2,7,5] y)"
    body = f"s = GRU<hidden_size={HIDDEN},layout=1>(x, w, r) t = Squeeze(s, two) y = MatMul(t, c)"
    analysis = analyze(net(body, stored("GRU"), ends=ends, two=np.array([2])))
    assert sizes(analysis) == {"s": HIDDEN}
    assert [None if axis is None else len(axis) for axis in analysis.tensors["s"]] == [2, None, None, HIDDEN]


def test_a_state_that_is_an_output_stays() -> None:
    ends = f"g (float[7,2,4] x) => (float[7,2,5] y, float[1,2,{HIDDEN}] z)"
    body = f"s, z = GRU<hidden_size={HIDDEN}>(x, w, r) t = Squeeze(s, one) y = MatMul(t, c)"
    assert "`z` is an output of the graph" in described(analyze(net(body, stored("GRU"), ends=ends))).values()
