"""Loop that runs a known, small number of times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.simplify.unroll_loops import UnrollLoops
from pruna_ir.testing import check_pass, missed, ops

YES, NO = np.array(True), np.array(False)
FEEDS = {"x": weight(3)}
STEP = "on = Identity(go) w = Mul(v, x)"


def loop(step: str = STEP, *, count: str = "m", condition: str = "p", outputs: str = "y", carried: str = "x") -> str:
    """A Loop over `v`; what a step calls `each` is collected in `all`."""
    collects = ", float[3] each" if "each" in step else ""
    return f"""{outputs} = Loop ({count}, {condition}, {carried}) <
        body = step (int64 i, bool go, float[3] v) => (bool on, float[3] w{collects}) {{ {step} }}
    >"""


def model(text: str, *, outputs: str = "float[3] y", inputs: str = "float[3] x", **constants: Any) -> Model:
    return model_from(f"g ({inputs}) => ({outputs}) {{ {text} }}", **{"p": YES, **constants})


@pytest.mark.parametrize("trips", [1, 2, 4])
def test_written_out(trips: int) -> None:
    after, result = check_pass(UnrollLoops(), model(loop(), m=np.array(trips)), feeds=FEEDS)
    assert ops(after) == ["Identity", "Mul"] * trips
    assert result.counts == {"loops unrolled": 1}


def test_number_of_rank_one() -> None:
    after, _ = check_pass(UnrollLoops(), model(loop(), m=np.array([2])), feeds=FEEDS)
    assert "Loop" not in ops(after)


def test_without_a_condition() -> None:
    after, _ = check_pass(UnrollLoops(), model(loop(condition=""), m=np.array(2)), feeds=FEEDS)
    assert "Loop" not in ops(after)


def test_number_of_the_iteration() -> None:
    step = "on = Identity(go) f = Cast <to = 1> (i) w = Add(v, f)"
    after, _ = check_pass(UnrollLoops(), model(loop(step), m=np.array(3)), feeds=FEEDS)
    assert ops(after).count("Cast") == 3


@pytest.mark.parametrize("trips", [1, 3])
def test_collected_tensors(trips: int) -> None:
    step = f"{STEP} each = Neg(w)"
    text = loop(step, outputs="y, all")
    after, _ = check_pass(
        UnrollLoops(), model(text, outputs="float[3] y, float[k,3] all", m=np.array(trips)), feeds=FEEDS
    )
    assert ops(after).count("Concat") == (trips > 1)
    assert ops(after).count("Unsqueeze") == trips


def test_collects_what_it_is_given() -> None:
    step = "on = Identity(go) w = Mul(v, x) each = Identity(x)"
    text = loop(step, outputs="y, all")
    after, _ = check_pass(UnrollLoops(), model(text, outputs="float[3] y, float[k,3] all", m=np.array(2)), feeds=FEEDS)
    assert "Loop" not in ops(after)


def test_carried_tensors_change_places() -> None:
    text = """y, z = Loop (m, p, x, k) <
        body = step (int64 i, bool go, float[3] a, float[3] b) => (bool on, float[3] c, float[3] d) {
            on = Identity(go) c = Identity(b) d = Neg(a) }
    >"""
    after, _ = check_pass(
        UnrollLoops(), model(text, outputs="float[3] y, float[3] z", m=np.array(3), k=weight(3, seed=1)), feeds=FEEDS
    )
    assert "Loop" not in ops(after)


@pytest.mark.parametrize("constants", [{"m": np.array(0)}, {"m": np.array(-2)}, {"m": np.array(3), "p": NO}])
def test_never_runs(constants: dict[str, Any]) -> None:
    text = loop(f"{STEP} each = Neg(w)", outputs="r, all") + " y = Exp(r) z = Neg(all)"
    after, _ = check_pass(UnrollLoops(), model(text, outputs="float[3] y, float[0,3] z", **constants), feeds=FEEDS)
    assert ops(after) == ["Exp", "Neg"]
    assert after.graph.nodes[1].inputs[0].values.shape == (0, 3)


def test_never_runs_and_collects_an_unknown_shape() -> None:
    text = """r, all = Loop (m, p, x) <
        body = step (int64 i, bool go, float[n] v) => (bool on, float[n] w, float[n] each) {
            on = Identity(go) w = Mul(v, v) each = Neg(w) }
    > y = Exp(r) z = Neg(all)"""
    built = model(text, inputs="float[n] x", outputs="float[n] y, float[k,n] z", m=np.array(0))
    _, result = check_pass(UnrollLoops(), built, feeds=FEEDS)
    assert missed(result) == ["the shape or type of `each` is not known"]


@pytest.mark.parametrize(
    ("text", "constants", "reason"),
    [
        (loop(), {"m": np.array(5)}, "it runs 5 times (`max-trips` is 4)"),
        (
            loop("on = Identity(go) " + " ".join(f"a{i} = Neg(v)" for i in range(9)) + " w = Neg(a0)"),
            {"m": np.array(4)},
            "it would become 44 nodes (`max-nodes` is 32)",
        ),
        (
            loop("t = Constant <value = int64 {2}> () on = Less(i, t) w = Mul(v, x)"),
            {"m": np.array(4)},
            "its body computes `on`, whether to go on",
        ),
        (
            loop("on = Constant <value = bool {0}> () w = Mul(v, x)"),
            {"m": np.array(4)},
            "its body computes `on`, whether to go on",
        ),
        (loop(count=""), {"p": NO}, None),
        (
            loop("t = Constant <value = int64 {2}> () on = Less(i, t) w = Mul(v, x)", count=""),
            {},
            "it has no number of iterations",
        ),
    ],
)
def test_reasons_to_stay(text: str, constants: dict[str, Any], reason: str | None) -> None:
    after, result = check_pass(UnrollLoops(), model(text, **constants), feeds=FEEDS)
    assert missed(result) == ([] if reason is None else [reason])
    assert ("Loop" in ops(after)) == (reason is not None)


@pytest.mark.parametrize(("name", "feed"), [("m", np.array(2)), ("p", YES)])
def test_computed_number_or_condition_stays(name: str, feed: np.ndarray) -> None:
    inputs = {"m": "int64 m", "p": "bool p"}[name]
    constants: dict[str, Any] = {"p": YES, "m": np.array(2)}
    del constants[name]
    built = model_from(f"g (float[3] x, {inputs}) => (float[3] y) {{ {loop()} }}", **constants)
    _, result = check_pass(UnrollLoops(), built, feeds={**FEEDS, name: feed})
    assert missed(result) == [f"`{name}` is not a constant"]


def test_one_iteration_may_end_itself() -> None:
    step = "t = Constant <value = int64 {7}> () on = Less(t, i) w = Mul(v, x)"
    after, _ = check_pass(UnrollLoops(), model(loop(step), m=np.array(1)), feeds=FEEDS)
    assert "Loop" not in ops(after)


def test_loop_inside_of_a_loop() -> None:
    inner = """k = Loop (m, p, v) <
        body = inside (int64 j, bool ahead, float[3] a) => (bool still, float[3] b) {
            still = Identity(ahead) b = Mul(a, v) }
    >"""
    text = loop(f"on = Identity(go) {inner} w = Neg(k)")
    after, result = check_pass(UnrollLoops(), model(text, m=np.array(2)), feeds=FEEDS)
    assert ops(after).count("Mul") == 4
    assert result.counts == {"loops unrolled": 3}


def test_options() -> None:
    text = loop()
    assert "Loop" not in ops(check_pass(UnrollLoops(max_trips=6), model(text, m=np.array(6)), feeds=FEEDS)[0])
    assert "Loop" in ops(check_pass(UnrollLoops(max_nodes=3), model(text, m=np.array(2)), feeds=FEEDS)[0])
