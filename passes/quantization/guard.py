"""The measured guards: regions that make the model slower, or cost accuracy, stay in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.passes.quantization.regions import Region
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind

if TYPE_CHECKING:
    import numpy as np

    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

Chosen = frozenset[int]
# A region must win or lose this fraction of the latency to change sides: less is noise.
NOTICEABLE = 0.01
# Seconds of timing a comparison, and rounds of visits to every region.
GUARD_SECONDS = 0.3
ROUNDS = 2


@dataclass
class Verdict:
    """Which regions are quantized (by number), and for each other one why it is not."""

    chosen: list[int] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class Guard:
    """Chooses regions by measuring whole models, never by adding up costs of ops: fusion does not add up.

    `build` makes the model with a set of regions quantized.
    """

    baseline: Model
    regions: Sequence[Region]
    build: Callable[[Chosen], Model]
    context: Context
    feeds: dict[str, np.ndarray]
    _speeds: dict[Chosen, float] = field(default_factory=dict)
    _float_session: Session | None = None

    def choose(self) -> Verdict:
        """The regions to quantize: fast enough first, then accurate enough."""
        verdict = Verdict()
        chosen: Chosen = frozenset(range(len(self.regions)))
        if self._measures_speed:
            chosen = self._fast(chosen, verdict)
        chosen = self._accurate(chosen, verdict)
        if chosen and self._measures_speed and self._speed(chosen) < 1.0:
            self._refuse(chosen, verdict, f"with the regions that are accurate it runs at {self._speed(chosen):.2f}x")
            chosen = frozenset()
        verdict.chosen = sorted(chosen)
        return verdict

    @property
    def _measures_speed(self) -> bool:
        return self.context.goal != "size" and host_kind() in self.context.target.runs_on

    def _speed(self, chosen: Chosen) -> float:
        """Speed next to the float model, in one thread."""
        if not chosen:
            return 1.0
        if chosen not in self._speeds:
            if self._float_session is None:
                self._float_session = Session(self.baseline)
            candidate = Session(self.build(chosen))
            self._speeds[chosen] = compare(self._float_session, candidate, self.feeds, seconds=GUARD_SECONDS).speedup
            self.context.progress("measuring regions", len(self._speeds), 0)
        return self._speeds[chosen]

    def _fast(self, everything: Chosen, verdict: Verdict) -> Chosen:
        """Coordinate descent from all or nothing: move a region to the other side while that is noticeably faster."""
        chosen = everything if self._speed(everything) > 1.0 else frozenset()
        for _ in range(ROUNDS):
            before = chosen
            for index in range(len(self.regions)):
                moved = chosen ^ {index}
                if self._speed(moved) > self._speed(chosen) * (1 + NOTICEABLE):
                    chosen = moved
            if chosen == before:
                break
        for index in sorted(everything - chosen):
            gain = self._speed(chosen | {index}) / self._speed(chosen)
            verb = "no faster" if gain > 1 - NOTICEABLE else "slower"
            self._refuse({index}, verdict, f"{verb} in integers (the model runs at {gain:.2f}x of its speed)")
        return chosen

    def _accurate(self, chosen: Chosen, verdict: Verdict) -> Chosen:
        """Give regions back, the one that adds most error first, while the score has dropped too far.

        Errors of separate regions add up nearly as independent noise does, so each is measured alone, and once.
        """
        evaluator = Evaluator(self.context.require_data("quantize"), self.context.reference)
        worst_first: list[int] = []
        total = len(chosen)
        while chosen:
            self.context.progress("checking accuracy", total - len(chosen), total)
            drop = evaluator.drop(self.build(chosen))
            if evaluator.acceptable(drop, self.context.max_drop):
                break
            worst_first = worst_first or self._by_error(chosen, evaluator)
            worst = next(index for index in worst_first if index in chosen)
            reason = f"with it {evaluator.metric_name} drops by {drop:.1%}; {self.context.max_drop:.1%} are allowed"
            self._refuse({worst}, verdict, reason)
            chosen = chosen - {worst}
        return chosen

    def _by_error(self, chosen: Chosen, evaluator: Evaluator) -> list[int]:
        quality: dict[int, float] = {}
        for index in sorted(chosen):
            self.context.progress("measuring each region's error", len(quality), len(chosen))
            quality[index] = evaluator.compare(self.build(frozenset({index})))[0]
        return sorted(quality, key=lambda index: quality[index])

    def _refuse(self, indices: Chosen | set[int], verdict: Verdict, reason: str) -> None:
        for index in sorted(indices):
            verdict.reasons[self.regions[index].name] = reason
