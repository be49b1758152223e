"""The pass: what is cut, what is not, and what is said about it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from channel_nets import images, normalized_net, residual_net
from onnx_text import model_from, weight

from pruna_ir.analysis.counting import count_parameters
from pruna_ir.analysis.macs import count_macs
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.pruning import surgery
from pruna_ir.passes.pruning.prune_channels import NO_GROUPS
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass

BY_WEIGHTS = "criterion=l2;recover=none;round-to=1"


def prune(model: Model, options: str, **more: Any) -> RunResult:
    return PassManager.parse(f"prune-channels<{options}>").run(model, **more)


def reasons(result: RunResult, kind: RemarkKind) -> list[str]:
    return [str(remark.reason) for remark in result.remarks if remark.kind is kind]


def warnings(result: RunResult) -> list[str]:
    return [str(remark.reason) for remark in result.remarks if remark.warns]


def shape_of(model: Model, node: int) -> list[int]:
    """The shape of a convolution's weight."""
    convolutions = [one for one in model.graph.nodes if one.op == "Conv"]
    return list(convolutions[node].inputs[1].shape)


def widths_of(model: Model) -> list[int]:
    """The channels that each convolution writes."""
    return [node.inputs[1].shape[0] for node in model.graph.nodes if node.op == "Conv"]


def error_code(options: str, **more: Any) -> str:
    with pytest.raises(PrunaError) as caught:
        prune(residual_net(), options, **more)
    return caught.value.diagnostic.code


def distance(model: Model, reference: Model) -> float:
    """Squared error of the outputs on fresh inputs, over their variance."""
    feeds = {"x": np.random.default_rng(9).standard_normal((32, 3, 8, 8)).astype(np.float32)}
    wanted, found = (next(iter(Session(one).run(feeds).values())) for one in (reference, model))
    return float(np.square(found - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


def test_ratio_removes_the_same_share_of_every_group() -> None:
    model = residual_net(16, 24)
    result = prune(model, f"ratio=0.5;{BY_WEIGHTS}")
    assert [shape_of(model, node)[:2] for node in range(5)] == [[8, 3], [12, 8], [8, 12], [12, 8], [8, 12]]
    assert model.outputs()[0].shape == ("n", 10)
    assert len(reasons(result, RemarkKind.PASSED)) == 3
    assert any(text.endswith("8 of 16 channels stay") for text in reasons(result, RemarkKind.PASSED))
    Session(model).run({"x": images(2)})


@pytest.mark.parametrize(
    ("name", "count"),
    [("macs", count_macs), ("params", count_parameters), ("bytes", lambda m: m.to_proto().ByteSize())],
)
@pytest.mark.parametrize("left", [0.8, 0.5, 0.3])
def test_budget_is_met_and_used(name: str, count: Any, left: float) -> None:
    model, original = residual_net(32, 48), residual_net(32, 48)
    result = prune(model, f"{name}={left};{BY_WEIGHTS}")
    share = count(model) / count(original)
    assert left - 0.02 < share <= left
    assert warnings(result) == []
    assert any("are left" in text for text in reasons(result, RemarkKind.ANALYSIS))


def test_several_budgets_are_all_met() -> None:
    model, original = residual_net(32, 48), residual_net(32, 48)
    prune(model, f"macs=0.7;params=0.4;{BY_WEIGHTS}")
    assert count_macs(model) / count_macs(original) <= 0.7  # type: ignore[operator]
    assert count_parameters(model) / count_parameters(original) <= 0.4


def test_least_squares_make_up_for_what_is_cut() -> None:
    original, plain, repaired = residual_net(), residual_net(), residual_net()
    prune(plain, "macs=0.6;criterion=l2;recover=none;round-to=1")
    result = prune(repaired, "macs=0.6;round-to=1", data=images(64))
    assert count_macs(repaired) / count_macs(original) <= 0.6  # type: ignore[operator]
    assert distance(repaired, original) < 0.5 * distance(plain, original)
    assert warnings(result) == []


CRITERIA = ["obs", "l1", "l2", "group-l2", "bn-scale", "fpgm", "activation", "random"]


@pytest.mark.parametrize(
    ("criterion", "recover"), [*((name, "none") for name in CRITERIA), ("obs", "lstsq"), ("activation", "lstsq")]
)
def test_every_criterion(criterion: str, recover: str) -> None:
    model = residual_net()
    prune(model, f"ratio=0.25;criterion={criterion};recover={recover};round-to=1", data=images())
    assert [shape_of(model, node)[0] for node in range(5)] == [12, 18, 12, 18, 12]
    assert np.isfinite(next(iter(Session(model).run({"x": images(2)}).values()))).all()


def test_scales_of_normalizations_choose() -> None:
    model = normalized_net()
    result = prune(model, "ratio=0.25;criterion=bn-scale;recover=none;round-to=1")
    assert result.manifest[0]["groups"][0]["kept"] == [0, 1, 2, 4, 6, 7]  # without 0.01 and -0.02


def test_target_aligns() -> None:
    model = residual_net(32, 48)
    prune(model, "ratio=0.4;criterion=l2;recover=none", target="tensorrt")
    assert [shape_of(model, node)[0] for node in range(2)] == [16, 32]


def test_too_narrow_for_the_alignment() -> None:
    model = residual_net(16, 24)
    before = model.fingerprint()
    result = prune(model, "ratio=0.5;criterion=l2;recover=none;round-to=32")
    assert model.fingerprint() == before
    assert any("its 16 channels are too few to cut (multiples of 32 stay)" in text for text in warnings(result))


def test_least_channels_stay() -> None:
    model = residual_net(16, 24)
    prune(model, f"ratio=0.9;min-channels=10;{BY_WEIGHTS}")
    assert [shape_of(model, node)[0] for node in range(2)] == [10, 10]


def test_include_and_exclude() -> None:
    model = residual_net()
    result = prune(model, f"ratio=0.5;include=[op:Conv];exclude=[{model.graph.nodes[2].outputs[0].name}];{BY_WEIGHTS}")
    assert [shape_of(model, node)[0] for node in range(5)] == [8, 24, 8, 12, 8]
    assert any(text.endswith("is excluded") for text in reasons(result, RemarkKind.MISSED))
    model = residual_net()
    prune(model, f"ratio=0.5;include=[{model.graph.nodes[2].outputs[0].name}];{BY_WEIGHTS}")
    assert [shape_of(model, node)[0] for node in range(5)] == [16, 12, 16, 24, 16]


def test_ratio_of_a_single_group() -> None:
    model = residual_net()
    prune(model, f"ratios=[a0:0.75];{BY_WEIGHTS}")
    assert [shape_of(model, node)[0] for node in range(5)] == [16, 6, 16, 24, 16]
    model, original = residual_net(32, 48), residual_net(32, 48)
    prune(model, f"macs=0.5;ratios=[a0:0.5,s0:0];{BY_WEIGHTS}")
    assert [shape_of(model, node)[0] for node in range(3)] == [32, 24, 32]
    assert count_macs(model) / count_macs(original) <= 0.5  # type: ignore[operator]


def test_steps_arrive_at_the_same_budget() -> None:
    model, original = residual_net(32, 48), residual_net(32, 48)
    result = prune(model, f"macs=0.5;steps=3;{BY_WEIGHTS}")
    assert 0.48 < count_macs(model) / count_macs(original) <= 0.5  # type: ignore[operator]
    assert len(result.manifest) == 3
    model = residual_net(32, 48)
    prune(model, f"ratio=0.5;steps=2;{BY_WEIGHTS}")
    assert shape_of(model, 0)[0] == pytest.approx(16, abs=1)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("ratio=0", "P004"),
        ("ratio=1", "P004"),
        ("ratio=1.5", "P004"),
        ("ratio=0.5;macs=0.5", "P004"),
        ("criterion=l2", "P006"),
        (f"macs=0;{BY_WEIGHTS}", "P010"),
        (f"macs=0.0001;{BY_WEIGHTS}", "P010"),
        ("macs=0.5", "P006"),  # least squares need data
        ("macs=0.5;recover=none", "P006"),
        ("macs=0.5;recover=none;criterion=activation", "P006"),
        (f"ratios=[a0];{BY_WEIGHTS}", "P004"),
        (f"ratios=[a0:1];{BY_WEIGHTS}", "P004"),
        (f"ratios=[nobody:0.5];{BY_WEIGHTS}", "P004"),
        (f"ratio=0.5;exclude=[nobody];{BY_WEIGHTS}", "P004"),
    ],
)
def test_what_makes_no_sense_is_refused(options: str, code: str) -> None:
    assert error_code(options) == code


def test_floor_is_said() -> None:
    with pytest.raises(PrunaError) as caught:
        prune(residual_net(32, 48), "macs=0.1;criterion=l2;recover=none;round-to=16")
    assert "0.1" in caught.value.diagnostic.message and "cannot be cut" in caught.value.diagnostic.message
    floor = float(caught.value.diagnostic.message.split(": ")[1].split()[0])
    model, original = residual_net(32, 48), residual_net(32, 48)
    prune(model, f"macs={floor + 0.001};criterion=l2;recover=none;round-to=16")
    assert count_macs(model) / count_macs(original) == pytest.approx(floor, abs=1e-3)  # type: ignore[operator]


def test_budget_goes_before_what_the_target_likes() -> None:
    unaligned = "criterion=l2;recover=none"
    model = residual_net(32, 48)
    result = prune(model, f"macs=0.1;{unaligned}", target="ort-cpu")
    assert count_macs(model) / count_macs(residual_net(32, 48)) <= 0.1  # type: ignore[operator]
    said = "layers keep multiples of 8: with 16, which ort-cpu likes, the multiply-accumulates do not fit the budget"
    assert said in reasons(result, RemarkKind.ANALYSIS)
    assert not any(width % 8 for width in widths_of(model))


def test_target_decides_where_the_budget_lets_it() -> None:
    model = residual_net(32, 48)
    result = prune(model, "macs=0.6;criterion=l2;recover=none", target="ort-cpu")
    assert not any(width % 16 for width in widths_of(model))
    assert not [reason for reason in reasons(result, RemarkKind.ANALYSIS) if "multiples" in reason]


def test_nothing_prunable_says_why() -> None:
    model = model_from(
        "g (float[n,3,4,4] x) => (float[n,4,4,4] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=weight(4, 3, 3, 3)
    )
    before = model.fingerprint()
    result = prune(model, f"macs=0.5;{BY_WEIGHTS}")
    assert model.fingerprint() == before and not result.changed
    assert warnings(result) == ["nothing can be cut: `y` is an output of the graph"]
    model = model_from("g (float[n,3] x) => (float[n,3] y) { y = Relu(x) }")
    assert warnings(prune(model, f"macs=0.5;{BY_WEIGHTS}")) == [f"nothing can be cut: {NO_GROUPS}"]


def test_dynamic_axis_is_never_cut() -> None:
    """Rows of unknown number between two products: their columns are cut, their number is not."""
    text = "g (float[rows,8] x) => (float[rows,4] y) { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }"
    model = model_from(text, w=weight(8, 16), v=weight(16, 4))
    prune(model, f"ratio=0.5;{BY_WEIGHTS}")
    assert [list(node.inputs[1].shape) for node in model.graph.nodes if node.op == "MatMul"] == [[8, 8], [8, 4]]
    assert Session(model).run({"x": np.ones((5, 8), np.float32)})["y"].shape == (5, 4)


def test_unchanged_model_keeps_the_promises_of_a_pass() -> None:
    from pruna_ir.passes.pruning.prune_channels import PruneChannels

    item = PruneChannels(macs=1.0, criterion="l2", recover="none")
    _, result = check_pass(item, residual_net())
    assert not result.changed


def test_two_runs_are_equal() -> None:
    first, second = residual_net(), residual_net()
    for model in (first, second):
        prune(model, "macs=0.5;round-to=1", data=images())
    assert first.fingerprint() == second.fingerprint()


def test_replay_measures_nothing_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = residual_net(), residual_net()
    log = prune(first, "macs=0.5;round-to=1", data=images()).decisions
    assert list(log.entries) == ["prune-channels<macs=0.5;round-to=1> removals"]
    monkeypatch.setattr("pruna_ir.passes.pruning.ranking.Ranker.rank", lambda *_: pytest.fail("measured"))
    prune(second, "macs=0.5;round-to=1", data=images(), decisions=DecisionLog(log.entries, replaying=True))
    assert first.fingerprint() == second.fingerprint()


def test_group_that_the_runtime_refuses_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with one group, the others are cut, further if need be."""

    def remove(model: Model, analysis: Any, removed: Any) -> None:
        if any(name.startswith("a0") for name in removed):
            raise ValueError("an axis of `a` does not divide")
        surgery.remove(model, analysis, removed)

    monkeypatch.setattr("pruna_ir.passes.pruning.cutting.remove", remove)
    model, original = residual_net(32, 48), residual_net(32, 48)
    result = prune(model, f"macs=0.6;exclude=[s0];{BY_WEIGHTS}")
    assert shape_of(model, 1)[0] == 48 and shape_of(model, 3)[0] < 20
    assert count_macs(model) / count_macs(original) <= 0.6  # type: ignore[operator]
    assert any("an axis of `a` does not divide" in text for text in reasons(result, RemarkKind.MISSED))


def test_manifest_tells_what_to_keep() -> None:
    """Cutting the original's weights by hand gives the pruned model's weights."""
    original = residual_net()
    pruned = original.clone()
    result = prune(pruned, f"ratio=0.5;{BY_WEIGHTS}")
    (cut,) = result.manifest
    assert {group["units"] for group in cut["groups"]} == {16, 24}
    for index, name in enumerate(["ws", "wa", "wb", "wc", "wd"]):
        values = np.asarray(original.graph.tensors()[name].values)
        for entry in cut["tensors"]:
            if entry["tensor"] == name:
                assert entry["size"] == values.shape[entry["axis"]] or len(entry["kept"]) == values.shape[entry["axis"]]
                values = np.take(values, entry["kept"], entry["axis"])
        convolutions = [node for node in pruned.graph.nodes if node.op == "Conv"]
        np.testing.assert_array_equal(values, convolutions[index].inputs[1].values)


def test_later_passes_are_judged_from_the_pruned_model() -> None:
    """What pruning cost is not a loss of what comes after it."""
    model = residual_net()
    text = "prune-channels<ratio=0.75;criterion=random;recover=none;round-to=1>,quantize<guard=false>,correct-bias"
    result = PassManager.parse(text).run(model, data=images())
    assert [stage.changed for stage in result.stages][:2] == [True, True]


def test_dry_run_shows_groups_and_changes_nothing() -> None:
    model = residual_net()
    before = model.fingerprint()
    result = prune(model, "macs=0.5;round-to=1;dry", data=images())
    assert model.fingerprint() == before
    lines = reasons(result, RemarkKind.ANALYSIS)
    assert lines[0].split()[:3] == ["group", "channels", "stay"]
    assert len(lines) == 5 and all(line.endswith("obs") for line in lines[1:4])
    assert lines[-1].endswith("is an output of the graph")
    without = prune(residual_net(), "criterion=l1;round-to=1;dry")
    assert all("?" in line for line in reasons(without, RemarkKind.ANALYSIS)[1:4])


def test_uncounted_work_needs_another_budget() -> None:
    text = 'g (float[n,3,4,4] x) => (float[n,4] y) { a = Conv(x, w) b = Conv(a, v) y = Einsum<equation="nchw->nc">(b) }'
    model = model_from(text, w=weight(8, 3, 1, 1), v=weight(4, 8, 1, 1))
    with pytest.raises(PrunaError) as caught:
        prune(model, f"macs=0.5;{BY_WEIGHTS}")
    assert caught.value.diagnostic.code == "P010" and "cannot be counted" in caught.value.diagnostic.message
    prune(model, f"params=0.6;{BY_WEIGHTS}")
    assert shape_of(model, 0)[0] < 8
