"""The pass over a whole network: what it keeps, what it recovers, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, weights

from pruna_ir.model import Model
from pruna_ir.passes.pruning.reconstruction import observations, sequential
from pruna_ir.passes.pruning.reconstruction.effects import Effects
from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE
from pruna_ir.passes.pruning.reconstruction.reads import Coupled, Read
from pruna_ir.passes.pruning.reconstruction.sequential import reconstruct
from pruna_ir.passes.pruning.reconstruction.sites import sites_in
from pruna_ir.passes.pruning.reconstruction.survey import Curve, sensitivity, survey
from pruna_ir.runtime.session import Session

NODE = onnx.helper.make_node
BATCHES = [{"x": weights(90 + number, 8, 3, 8, 8) * 3} for number in range(6)]
UNSEEN = [{"x": weights(70, 16, 3, 8, 8) * 3}]


def block(number: int, data: str) -> list[onnx.NodeProto]:
    """Conv -> Relu -> Conv -> Add(data) -> Relu: writes `o<number>`."""
    return [
        conv(f"a{number}", data, f"wa{number}", f"ba{number}", pads=[1, 1, 1, 1]),
        NODE("Relu", [f"a{number}"], [f"r{number}"]),
        conv(f"c{number}", f"r{number}", f"wc{number}", f"bc{number}", pads=[1, 1, 1, 1]),
        NODE("Add", [f"c{number}", data], [f"s{number}"]),
        NODE("Relu", [f"s{number}"], [f"o{number}"]),
    ]


def residual_net(blocks: int = 3, inner: int = 12) -> Model:
    """A convolution, residual blocks of `inner` channels inside, and a classifier."""
    constants = {"w0": weights(0, 6, 3, 3, 3), "w9": weights(9, 5, 6)}
    for number in range(1, blocks + 1):
        constants |= {
            f"wa{number}": weights(10 * number, inner, 6, 3, 3),
            f"ba{number}": weights(10 * number + 1, inner),
            f"wc{number}": weights(10 * number + 2, 6, inner, 3, 3) * 0.3,
            f"bc{number}": weights(10 * number + 3, 6),
        }
    nodes = [conv("o0", "x", "w0", pads=[1, 1, 1, 1])]
    for number in range(1, blocks + 1):
        nodes += block(number, f"o{number - 1}")
    nodes += [
        NODE("GlobalAveragePool", [f"o{blocks}"], ["p"]),
        NODE("Flatten", ["p"], ["f"]),
        NODE("Gemm", ["f", "w9"], ["y"], transB=1),
    ]
    return build(nodes, {"x": ["n", 3, 8, 8]}, ["y"], constants)


def inner_groups(model: Model, blocks: int = 3) -> list[Coupled]:
    sites = sites_in(model.graph)
    groups = []
    for number in range(1, blocks + 1):
        site = sites[f"c{number}"]
        size = site.layer.shape[1]
        read = Read(site.weight_slot, 1, 4, np.arange(size), site)
        groups.append(Coupled(f"block {number}", size, (read,)))
    return groups


def cut_by_order(
    model: Model, groups: Sequence[Coupled], counts: dict[str, int], **options: Any
) -> dict[str, np.ndarray]:
    """Remove the units that are missed least, and return them."""
    curves = survey(model, groups, BATCHES, ridge=options.get("ridge", RIDGE))
    removed = {name: np.sort(curves[name].order[:count]) for name, count in counts.items()}
    reconstruct(model, groups, removed, BATCHES, **options)
    return removed


def error(model: Model, other: Model) -> float:
    """Squared error relative to the variance, on samples that nothing was fitted to."""
    total = spread = 0.0
    for feeds in UNSEEN:
        wanted, found = Session(model).run(feeds)["y"], Session(other).run(feeds)["y"]
        total += float(np.square(found - wanted).sum())
        spread += float(np.square(wanted - wanted.mean()).sum())
    return total / spread


def silenced(model: Model, removed: dict[str, np.ndarray]) -> Model:
    """Nothing but zeros for what was removed."""
    changed = model.clone()
    for node in changed.graph.nodes:
        for name, units in removed.items():
            if node.outputs[0].name == f"c{name[-1]}":
                values = node.inputs[1].values.copy()
                values[:, units] = 0
                node.inputs[1].values = values
    return changed


def test_nothing_removed_changes_nothing() -> None:
    model = residual_net()
    before = model.fingerprint()
    reconstruct(model, inner_groups(model), {}, BATCHES)
    reconstruct(model, inner_groups(model), {"block 2": []}, BATCHES)
    assert model.fingerprint() == before


def test_redundant_channels_go_without_loss() -> None:
    """Each channel of the first half is there twice, at twice its size and half its weight."""
    model = residual_net(1)
    nodes = {node.outputs[0].name: node for node in model.graph.nodes}
    first, second = nodes["a1"], nodes["c1"]
    for position in (1, 2):
        values = first.inputs[position].values.copy()
        values[6:] = 2 * values[:6]
        first.inputs[position].values = values
    cut = model.clone()
    removed = cut_by_order(cut, inner_groups(model, 1), {"block 1": 6}, ridge=1e-9)
    assert sorted(unit % 6 for unit in removed["block 1"]) == list(range(6))
    assert error(model, cut) < 1e-6
    assert error(model, silenced(model, removed)) > 0.01
    kept = {node.outputs[0].name: node for node in cut.graph.nodes}["c1"].inputs[1].values
    assert not kept[:, removed["block 1"]].any() and second.inputs[1].values.any()


@pytest.mark.parametrize("rounds", [0, 4])
def test_recovers_most_of_the_loss(rounds: int) -> None:
    model = residual_net()
    cut = model.clone()
    blocks = dict.fromkeys(("block 1", "block 2", "block 3"), 6)
    removed = cut_by_order(cut, inner_groups(model), blocks, rounds=rounds)
    assert error(model, cut) < 0.3 * error(model, silenced(model, removed))


def test_given_units_are_those_that_go() -> None:
    model = residual_net()
    cut = model.clone()
    removed = {"block 2": np.array([3, 1, 7]), "block 3": np.array([0, 4])}
    reconstruct(cut, inner_groups(model), removed, BATCHES)
    weight = sites_in(cut.graph)["c2"].matrix.reshape(6, 12, 9)
    assert not weight[:, [1, 3, 7]].any() and weight[:, [0, 2]].all()
    assert error(model, cut) < 0.5 * error(model, silenced(model, removed))


def test_what_comes_before_stays() -> None:
    model = residual_net()
    cut = model.clone()
    reconstruct(cut, inner_groups(model), {"block 2": range(5)}, BATCHES)
    before, after = sites_in(model.graph), sites_in(cut.graph)
    same = [key for key in before if np.array_equal(before[key].matrix, after[key].matrix)]
    assert same == ["o0", "a1", "c1", "a2"]


def test_layers_behind_others_are_held_back_less_than_they_would_be_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential, "best_ridge", lambda *_: 1.0)
    moved = []
    for taken in (1.0, sequential.TAKEN):
        monkeypatch.setattr(sequential, "TAKEN", taken)
        model = residual_net()
        before = sites_in(model.graph)["y"].matrix
        reconstruct(model, inner_groups(model), {"block 2": range(5)}, BATCHES)
        moved.append(float(np.square(sites_in(model.graph)["y"].matrix - before).sum()))
    assert 0 < 2 * moved[0] < moved[1]


def test_rows_made_anew_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual_net()
    kept, anew = model.clone(), model.clone()
    reconstruct(kept, inner_groups(model), {"block 1": range(5)}, BATCHES)
    monkeypatch.setattr(observations, "KEPT_BYTES", 0)
    reconstruct(anew, inner_groups(model), {"block 1": range(5)}, BATCHES)
    assert kept.fingerprint() == anew.fingerprint()


def fan_out() -> Model:
    """Conv -> Relu, read by two convolutions, and a group that only a node which is no layer sums over."""
    return build(
        [
            conv("a", "x", "wa"),
            NODE("Relu", ["a"], ["r"]),
            conv("b", "r", "wb"),
            conv("c", "r", "wc", "bc", pads=[1, 1, 1, 1]),
            NODE("Concat", ["b", "c"], ["k"], axis=1),
            NODE("ConvTranspose", ["k", "wt"], ["t"]),
            NODE("GlobalAveragePool", ["t"], ["p"]),
            NODE("Flatten", ["p"], ["f"]),
            NODE("Gemm", ["f", "w9"], ["y"]),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {
            "wa": weights(0, 8, 3, 3, 3),
            "wb": weights(1, 4, 8, 1, 1),
            "wc": weights(2, 4, 8, 3, 3),
            "bc": weights(3, 4),
            "wt": weights(4, 8, 6, 1, 1),
            "w9": weights(5, 6, 5),
        },
    )


def fan_out_groups(model: Model) -> list[Coupled]:
    sites = sites_in(model.graph)
    reads = tuple(Read(sites[key].weight_slot, 1, 4, np.arange(8), sites[key]) for key in ("b", "c"))
    deconvolution = Read(type(sites["b"].weight_slot)("t", 1), 0, 4, np.r_[np.arange(4), [-1] * 4], None)
    return [Coupled("fan", 8, reads), Coupled("no layer", 4, (deconvolution,))]


def test_several_readers_lose_the_same_units() -> None:
    model = fan_out()
    cut = model.clone()
    removed = cut_by_order(cut, fan_out_groups(model)[:1], {"fan": 3})
    after = sites_in(cut.graph)
    for key, size in (("b", 1), ("c", 9)):
        matrix = after[key].matrix.reshape(4, 8, size)
        assert not matrix[:, removed["fan"]].any() and matrix.any(axis=(0, 2)).sum() == 5
    assert error(model, cut) < 0.5


def test_layers_behind_what_cannot_be_solved_make_up_for_it() -> None:
    model = fan_out()
    cut = model.clone()
    reconstruct(cut, fan_out_groups(model), {"no layer": [0, 2]}, BATCHES)
    nodes = {node.outputs[0].name: node for node in cut.graph.nodes}
    weight = nodes["t"].inputs[1].values
    np.testing.assert_array_equal(weight, model.graph.tensors()["wt"].values)
    gone = weight.copy()
    gone[[0, 2]] = 0
    nodes["t"].inputs[1].values = gone
    plain = model.clone()
    {node.outputs[0].name: node for node in plain.graph.nodes}["t"].inputs[1].values = gone
    assert error(model, cut) < 0.5 * error(model, plain)


def test_a_single_batch_is_enough() -> None:
    model = residual_net(1)
    cut = model.clone()
    removed = {"block 1": np.arange(4)}
    reconstruct(cut, inner_groups(model, 1), removed, BATCHES[:1])
    assert error(model, cut) < 0.7 * error(model, silenced(model, removed))


def test_curves_rise_and_say_what_the_measurement_says() -> None:
    model = residual_net()
    groups = inner_groups(model)
    curves = survey(model, groups, BATCHES)
    effect = sensitivity(model, groups, curves, BATCHES[:2])
    for group in groups:
        curve = curves[group.name]
        assert len(curve.order) == group.size - 1 and len(set(curve.order.tolist())) == group.size - 1
        assert curve.errors[0] == 0 and (np.diff(curve.errors) >= 0).all() and len(curve.errors) == group.size
        found = effect[group.name]
        assert sorted(found) == [1, 3, 6] and 0 < found[1] < found[3] < found[6] < 1
        measured = curve.measured(found)
        assert [measured[k] for k in (1, 3, 6)] == pytest.approx([found[1], found[3], found[6]])
        assert measured[0] == 0 and measured[11] / curve.errors[11] == pytest.approx(found[6] / curve.errors[6])
    assert survey(fan_out(), fan_out_groups(fan_out()), BATCHES).keys() == {"fan"}


def test_units_chosen_anew_are_those_that_are_missed_least() -> None:
    model = residual_net()
    for node in model.graph.nodes:
        if node.outputs[0].name in ("c1", "c2", "c3"):
            values = node.inputs[1].values.copy()
            values[:, 6:] *= 0.1
            node.inputs[1].values = values
    given = {f"block {number}": np.arange(6) for number in (1, 2, 3)}
    fixed, anew = model.clone(), model.clone()
    gone = reconstruct(fixed, inner_groups(fixed), given, BATCHES)
    assert {name: units.tolist() for name, units in gone.items()} == {name: list(range(6)) for name in given}
    gone = reconstruct(anew, inner_groups(anew), given, BATCHES, worth=dict.fromkeys(given, np.ones(12)))
    assert {name: len(units) for name, units in gone.items()} == dict.fromkeys(given, 6)
    assert error(model, anew) < 0.3 * error(model, fixed)
    for node in anew.graph.nodes:
        if node.outputs[0].name in ("c1", "c2", "c3"):
            silent = ~node.inputs[1].values.any(axis=(0, 2, 3))
            np.testing.assert_array_equal(np.flatnonzero(silent), gone[f"block {node.outputs[0].name[-1]}"])


def test_readers_of_a_group_choose_together() -> None:
    """Each reader alone would rather lose others: the first reads little of units 4 to 7, the second of 0 to 5."""
    model = fan_out()
    for node in model.graph.nodes:
        little = {"b": slice(4, 8), "c": slice(0, 6)}.get(node.outputs[0].name)
        if little is not None:
            values = node.inputs[1].values.copy()
            values[:, little] *= 0.01
            node.inputs[1].values = values
    gone = reconstruct(model, fan_out_groups(model)[:1], {"fan": [0, 1]}, BATCHES, worth={"fan": np.ones(8)})["fan"]
    assert gone.tolist() == [4, 5]
    for key, size in (("b", 1), ("c", 9)):
        assert not sites_in(model.graph)[key].matrix.reshape(4, 8, size)[:, gone].any()


def test_units_worth_much_stay() -> None:
    model = residual_net()
    worth = np.where(np.arange(12) < 6, 1e6, 1.0)
    gone = reconstruct(model, inner_groups(model), {"block 1": range(6)}, BATCHES, worth={"block 1": worth})
    assert gone["block 1"].tolist() == list(range(6, 12))


def test_units_that_are_read_too_late_to_compare_stay_chosen() -> None:
    model = fan_out()
    groups = fan_out_groups(model)
    worth = {group.name: np.ones(group.size) for group in groups}
    gone = reconstruct(model, groups, {"no layer": [0, 2]}, BATCHES, worth=worth)
    assert gone["no layer"].tolist() == [0, 2]


def test_measured_errors_without_a_measurement() -> None:
    curve = Curve(np.array([1, 0]), np.array([0.0, 0.5, 1.0]), {}, np.ones(3))
    np.testing.assert_array_equal(curve.measured({}), curve.errors)
    np.testing.assert_array_equal(curve.measured({0: 3.0, 1: np.nan, 2: 0.0}), curve.errors)
    np.testing.assert_allclose(curve.measured({1: 1.0}), [0.0, 1.0, 2.0])


def test_effects_tell_units_apart_that_the_next_layer_cannot() -> None:
    """Half of what the second convolution writes is hardly read: what its inputs lose there does not matter."""
    model = residual_net(1)
    nodes = {node.outputs[0].name: node for node in model.graph.nodes}
    values = nodes["c1"].inputs[1].values.copy()
    values[:3, 6:] = values[3:, :6] = 0
    values[:3] *= 1.3
    nodes["c1"].inputs[1].values = values
    weight = nodes["y"].inputs[1].values.copy()
    weight[:, :3] *= 1e-3
    nodes["y"].inputs[1].values = weight
    losses = []
    for effects in (None, Effects(model.to_proto(), BATCHES[:2])):
        cut, groups = model.clone(), inner_groups(model, 1)
        order = survey(model, groups, BATCHES, effects=effects)["block 1"].order
        reconstruct(cut, groups, {"block 1": order[:4]}, BATCHES)
        losses.append(error(model, cut))
    assert losses[1] < 0.9 * losses[0]
