"""The measured guards: regions that make the model slower, or cost accuracy, stay in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.damage import unless_refused
from pruna_ir.analysis.macs import macs_by_node
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.passes.quantization.regions import Region
from pruna_ir.runtime.latency import compare, thread_clock
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind

if TYPE_CHECKING:
    import numpy as np

    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

Chosen = frozenset[int]
NOTHING: Chosen = frozenset()
# Regions must win this fraction of the latency to change sides: less is noise.
NOTICEABLE = 0.01
# Seconds of timing a comparison, and those of another where the first was closer to a draw than this; rounds of visits
# to every kind of region at most.
GUARD_SECONDS = 0.3
CLOSE, CLOSE_SECONDS = 0.05, 1.0
ROUNDS = 2
# A model is not scored to the end once its drop is this much above what is allowed.
HOPELESS = 0.1
# How many of the regions that went for accuracy are tried again at the end.
TRIED_AGAIN = 4
NO_WEIGHTS = "it has no weights, and what is around it stays in float"


@dataclass
class Verdict:
    """Which regions are quantized (by number), and for each other one why it is not.

    `corrected` says that they are accurate enough with their biases corrected only.
    """

    chosen: list[int] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    corrected: bool = False


@dataclass
class Guard:
    """Chooses regions by measuring whole models, never by adding up costs of ops: fusion does not add up.

    `build` makes the model with a set of regions quantized, `kernels` names what then runs in integers. `correct` takes
    such a model to one with its biases corrected, and is tried where the model alone has lost too much.
    """

    baseline: Model
    target: Target
    regions: Sequence[Region]
    build: Callable[[Chosen], Model]
    kernels: Callable[[Chosen], frozenset[str]]
    context: Context
    feeds: dict[str, np.ndarray]
    correct: Callable[[Model], Model] | None = None
    _rescued: set[Chosen] = field(default_factory=set)
    _gains: dict[tuple[Chosen, Chosen], float] = field(default_factory=dict)
    _sessions: dict[Chosen, Session] = field(default_factory=dict)

    def choose(self) -> Verdict:
        """The regions to quantize: fast enough first, then accurate enough."""
        verdict = Verdict()
        chosen: Chosen = frozenset(range(len(self.regions)))
        if self._measures_speed:
            chosen = self._fast(chosen, verdict)
        chosen = self._accurate(chosen, verdict)
        if chosen and self._measures_speed and (speed := self._gain(NOTHING, chosen)) < 1.0:
            self._refuse(chosen, verdict, f"with the regions that are accurate it runs at {speed:.2f}x")
            chosen = NOTHING
        verdict.chosen, verdict.corrected = sorted(chosen), chosen in self._rescued
        return verdict

    @property
    def _measures_speed(self) -> bool:
        return self.context.goal != "size" and host_kind() in self.target.runs_on

    def _gain(self, before: Chosen, after: Chosen) -> float:
        """How much faster the second set of regions is than the first, timed in turn, in one thread."""
        if self.kernels(before) == self.kernels(after):
            return 1.0
        if (before, after) not in self._gains:
            self._gains[before, after] = unless_refused(lambda: self._measured_gain(before, after), 0.0)
            self.context.progress("measuring regions", len(self._gains), 0)
        return self._gains[before, after]

    def _measured_gain(self, before: Chosen, after: Chosen) -> float:
        if before not in self._sessions:
            self._sessions = {before: self._session(before)}
        one, other = self._sessions[before], self._session(after)
        found = compare(one, other, self.feeds, seconds=GUARD_SECONDS, clock=thread_clock()).speedup
        if abs(found - 1) > CLOSE:
            return found
        return compare(one, other, self.feeds, seconds=CLOSE_SECONDS, clock=thread_clock()).speedup

    def _session(self, chosen: Chosen) -> Session:
        return Session(self.build(chosen) if chosen else self.baseline)

    def _fast(self, everything: Chosen, verdict: Verdict) -> Chosen:
        """Coordinate descent from all or nothing: move regions to the other side while that is noticeably faster.

        Regions of one kind, as repeated blocks have, move together: what one wins, all win. Each move is timed against
        where the search stands, not against the float model: of many such figures the best is the luckiest.
        """
        kinds = self._kinds()
        chosen = everything if self._gain(NOTHING, everything) > 1.0 else NOTHING
        for _ in range(ROUNDS):
            before = chosen
            for kind in kinds:
                if self._gain(chosen, chosen ^ kind) > 1 + NOTICEABLE:
                    chosen = chosen ^ kind
            if chosen == before:
                break
        for kind in kinds:
            if kind & chosen:
                continue
            gain = self._gain(chosen, chosen | kind)
            if gain > 1 + NOTICEABLE:
                chosen |= kind
            else:
                alone = self.kernels(chosen | kind) == self.kernels(chosen)
                self._refuse(kind, verdict, NO_WEIGHTS if alone else _slower(gain))
        return chosen

    def _kinds(self) -> list[Chosen]:
        kinds: dict[str, Chosen] = {}
        for index, region in enumerate(self.regions):
            kinds[region.kind] = kinds.get(region.kind, NOTHING) | {index}
        return list(kinds.values())

    def _accurate(self, chosen: Chosen, verdict: Verdict) -> Chosen:
        """Give regions back, the one that adds most error for its work first, while the score has dropped too far.

        Errors of separate regions add up nearly as independent noise does, so each is measured alone, and once.
        """
        evaluator = Evaluator(self.context.require_data("quantize"), self.context.reference)
        everything, failed = chosen, set[Chosen]()
        work: dict[int, int] = {}
        worst_first: list[int] = []
        while chosen:
            self.context.progress("checking accuracy", len(everything - chosen), len(everything))
            drop = self._drop(chosen, evaluator)
            if evaluator.acceptable(drop, self.context.max_drop):
                break
            if not failed:
                work = self._work()
                worst_first = self._by_error(chosen, work, evaluator)
            failed.add(chosen)
            worst = frozenset({next(index for index in worst_first if index in chosen)})
            self._refuse(worst, verdict, self._inaccurate(drop, evaluator, chosen - worst, chosen))
            chosen = chosen - worst
        given_back = sorted(everything - chosen, key=lambda index: -work.get(index, 0)) if chosen else []
        for index in given_back[:TRIED_AGAIN]:
            # Those with little work went early, and may have done little harm.
            self.context.progress("checking accuracy", len(chosen), len(everything))
            more = chosen | {index}
            if more not in failed and evaluator.acceptable(self._drop(more, evaluator), self.context.max_drop):
                chosen = more
                del verdict.reasons[self.regions[index].name]
        return chosen

    def _work(self) -> dict[int, int]:
        """MACs of each region; nothing if they cannot be told."""
        macs = macs_by_node(self.baseline)
        if isinstance(macs, Unmeasured):
            return {}
        return {index: sum(macs.get(key, 0) for key in region.kernels) for index, region in enumerate(self.regions)}

    def _drop(self, chosen: Chosen, evaluator: Evaluator) -> float:
        hopeless = self.context.max_drop + HOPELESS
        drop = unless_refused(lambda: evaluator.drop(self.build(chosen), hopeless), math.inf)
        correct = self.correct
        if correct is None or drop > hopeless or evaluator.acceptable(drop, self.context.max_drop):
            return drop
        better = unless_refused(lambda: evaluator.drop(correct(self.build(chosen)), hopeless), math.inf)
        if better < drop:
            self._rescued.add(chosen)
        return min(drop, better)

    def _inaccurate(self, drop: float, evaluator: Evaluator, without: Chosen, chosen: Chosen) -> str:
        """What the region costs, and what it would have won."""
        if math.isinf(drop):
            return "with it the model does not run, or gives no numbers"
        text = f"with it {evaluator.metric_name} drops by {drop:.1%}; {self.context.max_drop:.1%} are allowed"
        return f"{text} ({_model_runs_at(self._gain(without, chosen))})" if self._measures_speed else text

    def _by_error(self, chosen: Chosen, work: Mapping[int, int], evaluator: Evaluator) -> list[int]:
        """The regions in order of the noise that they add to the outputs alone, in relation to their work."""
        noise: dict[int, float] = {}
        for index in sorted(chosen):
            self.context.progress("measuring each region's error", len(noise), len(chosen))
            noise[index] = -self._quality(frozenset({index}), evaluator)  # in dB
        share = {index: max(work.get(index, 0), 1) if any(work.values()) else 1 for index in noise}
        return sorted(noise, key=lambda index: 10 * math.log10(share[index]) - noise[index])

    def _quality(self, chosen: Chosen, evaluator: Evaluator) -> float:
        return unless_refused(lambda: evaluator.compare(self.build(chosen))[0], -math.inf)

    def _refuse(self, indices: Chosen, verdict: Verdict, reason: str) -> None:
        for index in sorted(indices):
            verdict.reasons[self.regions[index].name] = reason


def _slower(gain: float) -> str:
    if gain == 0.0:
        return "the runtime refuses the model with it"
    verb = "no faster" if gain > 1 - NOTICEABLE else "slower"
    return f"{verb} in integers ({_model_runs_at(gain)})"


def _model_runs_at(gain: float) -> str:
    return f"the model runs at {gain:.2f}x of its speed"
