"""Searching the precisions of groups: measure each alone, choose by a solver, measure the whole, correct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pruna_ir.passes.precision.budget import Limits, Way, solve, total
from pruna_ir.passes.precision.mixture import Mixture

# A solver's choice is measured, and repeated with a corrected limit, so many times at most.
ROUNDS = 8
# What the allowed noise is multiplied by while the score drops too far: 3 dB.
_STRICTER = 0.5
# Times that differ by less are equal: the rest is noise.
_SLOWER = 1.03


@dataclass(frozen=True)
class Budget:
    """What is allowed: a relative drop of the score, and fractions that may be left of time and bytes (None: any)."""

    max_drop: float
    latency: float | None
    bytes: float | None
    goal: str

    @property
    def is_of_cost(self) -> bool:
        """Whether time or bytes are limited, so that the error is what is minimized."""
        return self.latency is not None or self.bytes is not None


@dataclass
class Verdict:
    """The precision of each group, and for each part of the budget that it does not meet a sentence."""

    precisions: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Result:
    """A choice, measured as a whole."""

    ways: list[Way]
    drop: float
    time: float
    bytes: float


@dataclass
class Search:
    """Chooses under a budget; nothing here depends on the order of the groups."""

    mixture: Mixture
    budget: Budget

    def choose(self) -> Verdict:
        """The best choice found."""
        ways = []
        for index in range(len(self.mixture.groups)):
            self.mixture.context.progress("measuring groups", index, len(self.mixture.groups))
            ways.append(self.mixture.ways(index))
        result = self._within_costs(ways) if self.budget.is_of_cost else self._cheapest(ways)
        return Verdict([way.name for way in result.ways], self._missed(result))

    def _within_costs(self, ways: Sequence[Sequence[Way]]) -> _Result:
        """The least noise within the budgets of time and bytes, which shrink by what the whole turns out to exceed."""
        base_bytes = self.mixture.bytes(self.mixture.model)
        limits = Limits(time=self._latency - self.mixture.base_time, bytes=self._bytes - base_bytes)
        found: list[_Result] = []
        for _ in range(ROUNDS):
            chosen = solve(ways, "noise", limits)
            if chosen is None:
                break
            found.append(self._measured(chosen))
            if self._excess(found[-1]) <= 0:
                return found[-1]
            over_time, over_bytes = found[-1].time - self._latency, found[-1].bytes - self._bytes
            limits = Limits(
                time=total(chosen, "time") - over_time if over_time > 0 else limits.time,
                bytes=total(chosen, "bytes") - over_bytes if over_bytes > 0 else limits.bytes,
            )
        for figure in ("time", "bytes"):  # nothing fits: what comes nearest
            chosen = solve(ways, figure, Limits())
            found += [self._measured(chosen)] if chosen is not None else []
        return min(found, key=self._excess)

    @property
    def _latency(self) -> float:
        latency = self.budget.latency
        return math.inf if latency is None or not self.mixture.measures_time else latency

    @property
    def _bytes(self) -> float:
        return math.inf if self.budget.bytes is None else self.budget.bytes

    def _excess(self, result: _Result) -> float:
        """By how much a choice exceeds the budgets of time and bytes, the larger of the two."""
        return max(result.time - self._latency, result.bytes - self._bytes, 0.0)

    def _cheapest(self, ways: Sequence[Sequence[Way]]) -> _Result:
        """The fastest (or smallest) that keeps the score: the allowed noise is halved until it does."""
        figure = "bytes" if self.budget.goal == "size" or not self.mixture.measures_time else "time"
        quietest = [min(group, key=lambda way: way.noise) for group in ways]
        limit = math.inf
        for _ in range(ROUNDS):
            chosen = solve(ways, figure, Limits(noise=limit))
            if chosen is None or chosen == quietest:
                break
            result = self._measured(chosen)
            if self._good(result):
                return result
            limit = total(chosen, "noise") * _STRICTER
        return self._measured(quietest)

    def _good(self, result: _Result) -> bool:
        """Whether the score is kept, and the model not slower than it was."""
        slower = self.budget.goal != "size" and result.time > self.mixture.base_time * _SLOWER
        return not slower and self.mixture.acceptable(result.drop, self.budget.max_drop)

    def _measured(self, chosen: Sequence[Way]) -> _Result:
        model = self.mixture.build([way.name for way in chosen])
        drop = self.mixture.drop(model)
        time = self.mixture.time(model) if math.isfinite(drop) else math.inf
        return _Result(list(chosen), drop, time, self.mixture.bytes(model))

    def _missed(self, result: _Result) -> list[str]:
        missed = []
        if self.budget.latency is not None and not self.mixture.measures_time:
            missed.append("the target's speed cannot be measured on this machine")
        if not self.mixture.acceptable(result.drop, self.budget.max_drop):
            missed.append(f"the score drops by {result.drop:.1%}, and {self.budget.max_drop:.1%} is allowed")
        limits = (("time", result.time, self._latency), ("bytes", result.bytes, self._bytes))
        for what, found, limit in limits:
            if found > limit:
                missed.append(f"{found:.0%} of the {what} are left, and {limit:.0%} was asked for")
        return [f"the budget cannot be met: {text}; this is the best found" for text in missed]
