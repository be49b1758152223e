"""The guards, with the measurements replaced by tables: what they choose must follow from what they are told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from small_graphs import samples, small_net

from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.passes.quantization import guard as guard_module
from pruna_ir.passes.quantization.guard import Chosen, Guard
from pruna_ir.passes.quantization.regions import Region
from pruna_ir.pipeline.context import Context
from pruna_ir.targets.host import host_kind
from pruna_ir.targets.ort_cpu import _BY_HOST, ARM, X86

REGIONS = [Region("a", ("k1",), "first"), Region("b", ("k2",), "second"), Region("c", ("k3",), "third")]


@dataclass
class Scripted(Guard):
    """A guard whose speeds and errors are those of tables: a factor for each region, and the drop of a set."""

    factors: tuple[float, ...] = (1.0, 1.0, 1.0)
    work: tuple[int, ...] = (0, 0, 0)

    def _work(self) -> dict[int, int]:
        return {index: work for index, work in enumerate(self.work) if work}

    def _gain(self, before: Chosen, after: Chosen) -> float:
        return self._speed(after) / self._speed(before)

    def _speed(self, chosen: Chosen) -> float:
        return math.prod(self.factors[index] for index in chosen)


class ScriptedEvaluator:
    """Drops are the sums of those of the regions in the model, which the test passes along as a frozenset."""

    metric_name = "top1"
    drops = (0.0, 0.0, 0.0)

    def __init__(self, *_: object) -> None:
        pass

    def drop(self, model: Chosen, hopeless: float = math.inf) -> float:
        return sum(self.drops[index] for index in model)

    def acceptable(self, drop: float, max_drop: float) -> bool:
        return drop <= max_drop

    def compare(self, model: Chosen) -> tuple[float, float]:
        drop = self.drop(model)
        return -10 * math.log10(drop) if drop > 0 else math.inf, 0.0


def make(
    monkeypatch: pytest.MonkeyPatch,
    factors: tuple[float, ...] = (1.1, 1.1, 1.1),
    drops: tuple[float, ...] = (0.0, 0.0, 0.0),
    work: tuple[int, ...] = (0, 0, 0),
    **options: object,
) -> Guard:
    model = small_net()
    data = Dataset.from_arrays(samples()).bind(model.inputs())
    target = options.pop("target", _BY_HOST[host_kind()])
    context = Context(model, target, data, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(guard_module, "Evaluator", ScriptedEvaluator)
    monkeypatch.setattr(ScriptedEvaluator, "drops", drops)
    guard = Scripted(
        baseline=model,
        target=target,  # type: ignore[arg-type]
        regions=REGIONS,
        build=lambda chosen: chosen,  # type: ignore[arg-type, return-value]
        kernels=lambda chosen: chosen,  # type: ignore[arg-type, return-value]
        context=context,
        feeds={"x": samples(1)},
        factors=factors,
        work=work,
    )
    return guard


def test_everything_when_everything_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch).choose()
    assert (verdict.chosen, verdict.reasons) == ([0, 1, 2], {})


def test_slow_regions_stay_float(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, factors=(0.7, 1.3, 1.4)).choose()
    assert verdict.chosen == [1, 2]
    assert "slower in integers" in verdict.reasons["a"] and "0.70x" in verdict.reasons["a"]


def test_a_region_that_wins_is_found_from_a_slow_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, factors=(0.5, 0.5, 1.2)).choose()
    assert verdict.chosen == [2]


def test_noise_is_no_reason_to_quantize(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, factors=(0.5, 1.004, 1.2)).choose()
    assert verdict.chosen == [2]
    assert "no faster in integers" in verdict.reasons["b"]


def test_inaccurate_regions_stay_float_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, factors=(1.3, 1.1, 1.2), drops=(0.2, 0.008, 0.05)).choose()
    assert verdict.chosen == [1]
    assert verdict.reasons == {
        "a": "with it top1 drops by 25.8%; 1.0% are allowed (the model runs at 1.30x of its speed)",
        "c": "with it top1 drops by 5.8%; 1.0% are allowed (the model runs at 1.20x of its speed)",
    }


def test_inaccurate_regions_have_no_speed_where_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, drops=(0.2, 0.0, 0.0), goal="size").choose()
    assert verdict.reasons == {"a": "with it top1 drops by 20.0%; 1.0% are allowed"}


@pytest.mark.parametrize(
    ("drops", "work", "chosen"),
    [
        ((0.009, 0.008, 0.001), (9, 1, 1), [0, 2]),  # the one that adds most error does most work
        ((0.009, 0.008, 0.001), (1, 9, 1), [1, 2]),
        ((0.009, 0.008, 0.001), (9, 9, 0), [1, 2]),  # the one without work goes first, and there is room for it
        ((0.009, 0.008, 0.003), (9, 9, 0), [1]),
        ((0.009, 0.008, 0.001), (0, 0, 0), [1, 2]),  # nothing is known of their work
        ((0.02, 0.03, 0.04), (1, 2, 3), []),
    ],
)
def test_most_work_stays_in_integers(
    monkeypatch: pytest.MonkeyPatch, drops: tuple[float, ...], work: tuple[int, ...], chosen: list[int]
) -> None:
    guard = make(monkeypatch, drops=drops, work=work, max_drop=0.0101)
    verdict = guard.choose()
    assert verdict.chosen == chosen
    assert verdict.reasons.keys() == {REGIONS[index].name for index in range(3) if index not in chosen}


def test_allowed_drop_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, drops=(0.2, 0.0, 0.0), max_drop=0.3).choose().chosen == [0, 1, 2]


def test_what_accuracy_leaves_must_still_be_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, factors=(2.0, 0.995, 0.995), drops=(0.5, 0.0, 0.0)).choose()
    assert verdict.chosen == []
    assert "0.99x" in verdict.reasons["b"]


def test_size_is_worth_a_slower_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, factors=(0.5, 0.5, 0.5), goal="size").choose().chosen == [0, 1, 2]


def test_speed_is_not_measured_for_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = X86 if host_kind() == "arm" else ARM
    assert make(monkeypatch, factors=(0.5, 0.5, 0.5), target=elsewhere).choose().chosen == [0, 1, 2]


def test_regions_of_one_kind_move_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two would stay on its own; as blocks that repeat they are decided by what both win."""
    guard = make(monkeypatch, factors=(0.7, 1.05, 1.4))
    guard.regions = [Region("a", ("k1",), "block"), Region("b", ("k2",), "block"), Region("c", ("k3",), "third")]
    verdict = guard.choose()
    assert verdict.chosen == [2]
    assert verdict.reasons["a"] == verdict.reasons["b"] and "0.73x" in verdict.reasons["a"]


def test_model_without_numbers_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = make(monkeypatch, drops=(math.inf, 0.0, 0.0)).choose()
    assert (verdict.chosen, verdict.reasons) == ([1, 2], {"a": "with it the model does not run, or gives no numbers"})


def test_what_the_runtime_refuses_stays_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region with which the runtime refuses the model costs that region, not the run."""
    guard = make(monkeypatch)

    def session(self: Guard, chosen: Chosen) -> Chosen:
        if 1 in chosen:
            raise error("M009", "ONNX Runtime refuses the model")
        return chosen

    def compare(before: Chosen, after: Chosen, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(speedup=1.1 ** (len(after) - len(before)))

    monkeypatch.setattr(Scripted, "_gain", Guard._gain)
    monkeypatch.setattr(Guard, "_session", session)
    monkeypatch.setattr(guard_module, "compare", compare)
    verdict = guard.choose()
    assert (verdict.chosen, verdict.reasons) == ([0, 2], {"b": "the runtime refuses the model with it"})


def test_other_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*_: object) -> float:
        raise error("D007", "the labels do not fit")

    guard = make(monkeypatch)
    monkeypatch.setattr(ScriptedEvaluator, "drop", drop)
    with pytest.raises(PrunaError) as failure:
        guard.choose()
    assert failure.value.diagnostic.code == "D007"


@pytest.mark.parametrize(
    ("drop", "chosen", "corrected"),
    [
        (0.005, [0, 1, 2], False),  # accurate as it is
        (0.05, [0, 1, 2], True),
        (0.2, [1, 2], False),  # hopeless: not tried
    ],
)
def test_corrected_biases_may_save_a_region(
    drop: float, chosen: list[int], corrected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = make(monkeypatch, drops=(drop, 0.0, 0.0))
    guard.correct = lambda model: model - {0}  # type: ignore[operator]
    verdict = guard.choose()
    assert (verdict.chosen, verdict.corrected) == (chosen, corrected)


def test_corrected_biases_that_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = make(monkeypatch, drops=(0.05, 0.0, 0.0))
    guard.correct = lambda model: model
    verdict = guard.choose()
    assert (verdict.chosen, verdict.corrected) == ([1, 2], False)


def test_real_measurements_agree_with_the_model_that_is_built() -> None:
    """No table: the guard times and scores the real small net, and the verdict names every region once."""
    model = small_net()
    data = Dataset.from_arrays(samples()).bind(model.inputs())
    from pruna_ir.passes.quantization.quantize import Quantize

    result = Quantize().run(model.clone(), Context(model, _BY_HOST[host_kind()], data))
    named = [str(remark.reason) for remark in result.remarks if str(remark.reason).startswith("region")]
    assert len(named) == 4
