"""Paired latency: the arithmetic on a clock of our own, and a real pair whose order is beyond doubt."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest

from pruna_ir.runtime import Session, compare, measure
from pruna_ir.runtime.latency import thread_clock


class Clock:
    """A clock that only sessions move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def session(self, name: str, seconds: float, *, drift: float = 0.0) -> Session:
        def run() -> dict[str, np.ndarray]:
            self.calls.append(name)
            self.now += seconds * (1 + drift * self.now)
            return {}

        fake: Any = SimpleNamespace(run=lambda feeds: run(), prepared=lambda feeds: run)
        return cast(Session, fake)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


NOTHING: Mapping[str, np.ndarray] = {}


def test_speedup_is_before_over_after(clock: Clock) -> None:
    result = compare(clock.session("a", 0.004), clock.session("b", 0.002), NOTHING, seconds=1.0)
    assert result.speedup == pytest.approx(2.0)
    assert [result.low, result.high] == pytest.approx([2.0, 2.0])
    assert [result.before_ms, result.after_ms] == pytest.approx([4.0, 2.0])


def test_a_machine_that_slows_down_does_not_favour_either(clock: Clock) -> None:
    result = compare(clock.session("a", 0.002, drift=0.5), clock.session("b", 0.002, drift=0.5), NOTHING, seconds=1.0)
    assert result.speedup == pytest.approx(1.0, abs=0.01)


def test_blocks_alternate_and_time_is_spent_as_asked(clock: Clock) -> None:
    result = compare(clock.session("a", 0.002), clock.session("b", 0.002), NOTHING, seconds=1.0)
    assert 0.7 < clock.now < 1.3
    blocks = [name for name, previous in zip(clock.calls, ["", *clock.calls], strict=False) if name != previous]
    # a first run each, then ABBA BAAB ..., where equal neighbours are one block here
    assert "".join(blocks) == "ab" + ("aba" + "bab") * (result.rounds // 2) + "aba" * (result.rounds % 2)


def test_slow_models_get_few_rounds_but_enough(clock: Clock) -> None:
    assert compare(clock.session("a", 2.0), clock.session("b", 1.0), NOTHING, seconds=0.3).rounds == 3


def test_measure(clock: Clock) -> None:
    assert measure(clock.session("a", 0.003), NOTHING) == pytest.approx(3.0)


def test_real_models() -> None:
    def chain(length: int) -> Session:
        nodes = [onnx.helper.make_node("MatMul", [f"t{i}", "w"], [f"t{i + 1}"]) for i in range(length)]
        value = [onnx.helper.make_tensor_value_info(name, 1, [64, 64]) for name in ("t0", f"t{length}")]
        weights = onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
        graph = onnx.helper.make_graph(nodes, "chain", value[:1], value[1:], [weights])
        opset = onnx.helper.make_opsetid("", 17)
        return Session(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), optimize=False)

    result = compare(chain(40), chain(2), {"t0": np.ones((64, 64), np.float32)}, seconds=0.1)
    assert result.low <= result.speedup <= result.high
    assert result.speedup > 2  # twenty times the work
    assert result.before_ms > result.after_ms > 0


def test_another_clock(clock: Clock) -> None:
    """What the wall clock counts while other programs run is not the models' time."""

    def own() -> float:
        return clock.now / 2

    result = compare(clock.session("a", 0.004), clock.session("b", 0.002), NOTHING, seconds=0.5, clock=own)
    assert [result.before_ms, result.after_ms, result.speedup] == pytest.approx([2.0, 1.0, 2.0])


def test_the_clock_of_a_thread_stands_still_while_it_waits() -> None:
    count = thread_clock()
    assert count in (time.thread_time, time.perf_counter)
    if count is time.thread_time:
        before = count()
        time.sleep(0.05)
        assert count() - before < 0.04
