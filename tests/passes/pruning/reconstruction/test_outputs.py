"""What counts as an output, and how far one model is from another."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import build, conv, small_net, weights

from pruna_ir.analysis.gram import Feeds
from pruna_ir.passes.pruning.reconstruction.effects import Effect, Effects
from pruna_ir.passes.pruning.reconstruction.outputs import Outputs, components
from pruna_ir.passes.pruning.reconstruction.sites import Slot
from pruna_ir.runtime.session import Session

NODE = onnx.helper.make_node
BATCHES = [{"x": weights(5 + number, 4, 3, 8, 8)} for number in range(3)]


def detector() -> onnx.ModelProto:
    """Two heads of very different sizes and units, joined."""
    return build(
        [
            conv("boxes", "x", "w1"),
            conv("c", "x", "w2"),
            NODE("Sigmoid", ["c"], ["scores"]),
            NODE("Concat", ["boxes", "scores"], ["k"], axis=1),
            NODE("Reshape", ["k", "shape"], ["r"]),
            NODE("Transpose", ["r"], ["y"], perm=[0, 2, 1]),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w1": weights(0, 4, 3, 1, 1) * 100, "w2": weights(1, 1, 3, 1, 1), "shape": np.array([0, 5, 64])},
    ).to_proto()


def test_components() -> None:
    assert components(detector().graph) == ["boxes", "scores"]
    assert components(small_net().to_proto().graph) == ["y"]


def test_components_are_measured_in_their_own_units() -> None:
    effects = Effects(detector(), BATCHES)
    # Both effects are of the same order, though boxes are hundreds and scores fractions.
    zeros = {name: {Slot(name, 1): np.zeros(shape, np.float32)} for name, shape in HEADS.items()}
    boxes, scores = (Effect(effects, edits).of(edits) for edits in zeros.values())
    assert 0.4 < boxes < 0.6 and 0.3 < scores < 0.7


HEADS = {"boxes": (4, 3, 1, 1), "c": (1, 3, 1, 1)}


def test_distance_is_the_relative_squared_error() -> None:
    model = small_net()
    before = [Session(model).run(feeds) for feeds in BATCHES]
    after = [{"y": run["y"] * 1.5 + 1} for run in before]
    one, other = (np.concatenate([run["y"] for run in runs]).astype(float) for runs in (before, after))
    wanted = np.square(other - one).sum() / np.square(one - one.mean(axis=0)).sum()
    outputs = Outputs(model.to_proto(), BATCHES)
    assert outputs.distance(after) == pytest.approx(wanted, rel=1e-4)
    assert outputs.distance(before) == outputs.distance([{}, {}, {}]) == 0


def test_constant_and_integer_outputs() -> None:
    outputs = "int64[n,1,8,8] i, float[n,3,8,8] y"
    proto = model_from(f"g (float[n,3,8,8] x) => ({outputs}) {{ i = ArgMax<axis=1>(x) y = Sub(x, x) }}").to_proto()
    assert Outputs(proto, BATCHES).distance([{"y": np.zeros((4, 3, 8, 8), np.float32)}] * 3) == 0
    integers = model_from("g (float[n,3,8,8] x) => (int64[n,1,8,8] i) { i = ArgMax<axis=1>(x) }").to_proto()
    assert Outputs(integers, BATCHES).distance([{}] * 3) == 0


def test_a_metric_that_can_tell_is_asked() -> None:
    """One that looks at the scores only, which are the last of five channels."""

    def seen(found: Feeds, wanted: Feeds) -> tuple[float, float]:
        gap = found["y"][..., 4] - wanted["y"][..., 4]
        return float(np.square(gap).sum()), float(np.square(wanted["y"][..., 4]).sum())

    effects = Effects(detector(), BATCHES, seen)
    zeros = {name: {Slot(name, 1): np.zeros(shape, np.float32)} for name, shape in HEADS.items()}
    boxes, scores = (Effect(effects, edits).of(edits) for edits in zeros.values())
    runs = [Session(detector()).run(feeds)["y"][..., 4] for feeds in BATCHES]
    wanted = sum(float(np.square(0.5 - run).sum()) for run in runs) / sum(float(np.square(run).sum()) for run in runs)
    assert boxes == 0 and scores == pytest.approx(wanted, rel=1e-4)


def test_a_metric_that_cannot_tell_changes_nothing() -> None:
    edits = {Slot("c", 1): np.zeros((1, 3, 1, 1), np.float32)}
    plain, asked = (Effect(Effects(detector(), BATCHES, seen), edits).of(edits) for seen in (None, lambda *_: None))
    assert plain == asked > 0
