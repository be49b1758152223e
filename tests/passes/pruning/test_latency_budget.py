"""A budget of time: the search, with a clock that is a formula, and once with the real one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from channel_nets import residual_net

from pruna_ir.analysis.macs import count_macs
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation import latency
from pruna_ir.passes.pruning.allocation.costs import Cost, Extent, Term
from pruna_ir.passes.pruning.allocation.curves import Curve
from pruna_ir.passes.pruning.allocation.latency import TOLERANCE, timer, widths_within_time
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

COST = Cost([Term(1.0, (Extent(0, {name: 1 / 64}),)) for name in "abc"])


def curves() -> list[Curve]:
    errors = np.arange(64.0) ** 2
    return [Curve.of(name, errors, np.arange(1, 65), scale) for name, scale in zip("abc", (1, 2, 5), strict=True)]


@pytest.mark.parametrize("left", [0.9, 0.6, 0.4])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("constant", [0.0, 0.2])
def test_search_meets_the_budget(left: float, power: float, constant: float) -> None:
    """Whatever the time really is, as long as it falls with the widths."""

    def time_left(widths: dict[str, int]) -> float:
        return constant + (1 - constant) * float((COST.at(widths) / 3) ** power)

    found = widths_within_time(curves(), COST, left, time_left)
    assert time_left(found) == pytest.approx(left, rel=TOLERANCE)


def test_enough_time_leaves_everything() -> None:
    assert widths_within_time(curves(), COST, 1.0, lambda widths: 0.99) == dict.fromkeys("abc", 64)


def test_floor_is_said() -> None:
    with pytest.raises(PrunaError) as caught:
        widths_within_time(curves(), COST, 0.5, lambda widths: 0.7)
    assert caught.value.diagnostic.code == "P010"
    assert "`latency=0.5` cannot be met: 0.700 of the time" in caught.value.diagnostic.message


def test_pass_takes_a_budget_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock counts MACs; the table of nodes is the real one."""

    def by_macs(
        reference: Model, feeds: Any, cut: Callable[[dict[str, int]], Model]
    ) -> Callable[[dict[str, int]], float]:
        return lambda widths: float(count_macs(cut(widths)) / count_macs(reference))  # type: ignore[operator]

    monkeypatch.setattr("pruna_ir.passes.pruning.choice.timer", by_macs)
    model, original = residual_net(64, 64), residual_net(64, 64)
    result = PassManager.parse("prune-channels<latency=0.6;criterion=l2;recover=none;round-to=2>").run(model)
    assert result.changed
    assert count_macs(model) / count_macs(original) == pytest.approx(0.6, rel=TOLERANCE)  # type: ignore[operator]
    Session(model).run({"x": np.zeros((1, 3, 8, 8), np.float32)})


def test_clock_times_the_cut_model() -> None:
    """The real one, whose answer no test relies on."""
    model = residual_net()
    assert timer(model, {"x": np.zeros((1, 3, 8, 8), np.float32)}, lambda widths: model)({}) > 0


def test_clock_is_that_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ticks once a reading gives all runs the same time, which no other clock would."""
    ticks = itertools.count()
    monkeypatch.setattr(latency, "thread_clock", lambda: lambda: float(next(ticks)))
    model, smaller = residual_net(64, 64), residual_net(4, 4)
    assert timer(model, {"x": np.zeros((1, 3, 8, 8), np.float32)}, lambda widths: smaller)({}) == 1.0
    assert next(ticks) > 0
