"""What new weights do to the outputs, when only the nodes behind them are run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.pruning.reconstruction.edits import write
from pruna_ir.passes.pruning.reconstruction.effects import Effect, Effects
from pruna_ir.passes.pruning.reconstruction.outputs import Outputs
from pruna_ir.passes.pruning.reconstruction.sites import Edits, Slot, sites_in
from pruna_ir.runtime.session import Session

NODE = onnx.helper.make_node
BATCHES = [{"x": part} for part in np.split(samples(6), [2, 5])]


def whole(model: Model, edits: Edits) -> float:
    """The distance, from runs of whole models."""
    proto, changed = model.to_proto(), model.clone()
    write(changed, edits)
    session = Session(changed)
    return Outputs(proto, BATCHES).distance(session.run(feeds) for feeds in BATCHES)


@pytest.mark.parametrize("number", range(len(sites_in(small_net().graph))))
def test_is_what_the_whole_model_says(number: int) -> None:
    """For each layer, and for other values with the same session."""
    model = small_net()
    site = list(sites_in(model.graph).values())[number]
    assert site.bias_slot is not None
    effect = Effect(Effects(model.to_proto(), BATCHES), site.edits(site.matrix, site.bias))
    assert effect.of(site.edits(site.matrix, site.bias)) == pytest.approx(0, abs=1e-9)
    for factor in (0.5, 2.0):
        edits = site.edits(site.matrix * factor, site.bias + factor)
        assert effect.of(edits) == pytest.approx(whole(model, edits), rel=1e-4)


def test_layers_beside_each_other() -> None:
    """Two readers of one tensor, and an output that neither reaches."""
    nodes = [
        NODE("Relu", ["x"], ["r"]),
        conv("a", "r", "w"),
        conv("b", "r", "v"),
        NODE("Add", ["a", "b"], ["s"]),
        NODE("Mul", ["s", "r"], ["y"]),
        NODE("Neg", ["r"], ["z"]),
    ]
    constants = {"w": weights(0, 3, 3, 1, 1), "v": weights(1, 3, 3, 1, 1)}
    model = build(nodes, {"x": ["n", 3, 8, 8]}, ["y", "z"], constants)
    edits = {Slot("a", 1): constants["w"] * 0, Slot("b", 1): constants["v"] * 2, Slot("b", 2): weights(2, 3)}
    found = Effect(Effects(model.to_proto(), BATCHES), edits).of(edits)
    assert found == pytest.approx(whole(model, edits), rel=1e-4) and found > 0.1


def test_what_no_output_depends_on_has_no_effect() -> None:
    text = """g (float[n,3,8,8] x) => (int64[n,1,8,8] i, float[n,3,8,8] y) {
        a = Conv(x, w)    i = ArgMax<axis=1>(a)    y = Relu(x)
    }"""
    model = model_from(text, w=weights(0, 3, 3, 1, 1))
    edits = {Slot("a", 1): weights(1, 3, 3, 1, 1)}
    assert Effect(Effects(model.to_proto(), BATCHES), edits).of(edits) == 0
