"""Running a model stage by stage."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.pruning.reconstruction import walk
from pruna_ir.passes.pruning.reconstruction.schedule import schedule
from pruna_ir.passes.pruning.reconstruction.sites import Slot, sites_in
from pruna_ir.passes.pruning.reconstruction.walk import Walk
from pruna_ir.runtime.capture import with_outputs, written_tensors
from pruna_ir.runtime.session import Session

NODE = onnx.helper.make_node
BATCHES = [{"x": part} for part in np.split(samples(6), [2, 5])]


def shortcut_last() -> Model:
    """The nodes of the shortcut stand behind the convolution to which it is added."""
    return build(
        [
            NODE("Relu", ["x"], ["r"]),
            conv("c", "r", "w", pads=[1, 1, 1, 1]),
            NODE("Abs", ["r"], ["s"]),
            NODE("Add", ["c", "s"], ["a"]),
            conv("y", "a", "v"),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 3, 3, 3, 3), "v": weights(1, 2, 3, 1, 1)},
    )


def test_what_needs_no_layer_runs_before_it() -> None:
    plan = schedule(shortcut_last().to_proto().graph, ["c", "y"])
    assert plan.stage == {"r": 0, "s": 0, "c": 1, "a": 1, "y": 2}
    assert plan.known("s", 1) and plan.known("x", 0) is False and plan.known("x", 1) and not plan.known("a", 1)


@pytest.mark.parametrize("limit", [1 << 30, 3000, 0])
@pytest.mark.parametrize("model", [small_net(), shortcut_last()], ids=["small net", "shortcut last"])
def test_every_tensor_is_what_the_whole_model_writes(model: Model, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MEMORY_LIMIT", limit)
    proto, layers = model.to_proto(), list(sites_in(model.graph))
    plan = schedule(proto.graph, layers)
    names = written_tensors(model)
    wanted = [Session(with_outputs(model, names)).run(feeds) for feeds in BATCHES]
    one = Walk(proto, plan, BATCHES)
    for stage in range(1, len(layers) + 2):
        one.run_to(stage, set(names))
        for name in names:
            if plan.stage[name] == stage - 1:
                for batch in range(len(BATCHES)):
                    np.testing.assert_allclose(one.value(name, batch), wanted[batch][name], rtol=1e-5, atol=1e-5)


def test_what_is_not_read_again_is_dropped() -> None:
    model = small_net()
    one = Walk(model.to_proto(), schedule(model.to_proto().graph, ["c1", "c2", "y"]), BATCHES)
    one.run_to(2)
    assert one.value("r1", 0).shape == (2, 8, 8, 8)
    one.run_to(3)
    for name in ("x", "r1", "c2"):
        with pytest.raises(KeyError):
            one.value(name, 0)
    assert one.value("f", 2).shape == (1, 8)


def test_edits_and_masks_count_from_then_on() -> None:
    model = small_net()
    one = Walk(model.to_proto(), schedule(model.to_proto().graph, ["c1", "c2", "y"]), BATCHES)
    one.run_to(3)
    features = one.value("f", 0)
    one.set({Slot("y", 1): np.ones((10, 8), np.float32), Slot("y", 2): np.full(10, 5, np.float32)})
    one.mask(Slot("y", 0), np.arange(8) < 3)
    one.run_to(4, {"y"})
    wanted = np.repeat(features[:, :3].sum(axis=1, keepdims=True), 10, axis=1) + 5
    np.testing.assert_allclose(one.value("y", 0), wanted, rtol=1e-5)
