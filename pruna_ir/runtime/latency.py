"""Latency as a ratio: two models timed in turn, so that what slows the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pruna_ir.runtime.runner import Runner

# A clock of threads can stand still over a run that is shorter than its tick.
_LEAST_SECONDS = 1e-6
_BLOCK_SECONDS = 0.02
_WARM_UP_RUNS = 3
_MOST_ROUNDS = 40
_FEWEST_ROUNDS = 3
_FEWEST_RUNS = 3
_FINE_SECONDS = 1e-5


@dataclass(frozen=True)
class Comparison:
    """How long `after` takes next to `before`.

    `speedup` is time of `before` over time of `after` (above 1: `after` is faster), the median over `rounds`, and
    `low` and `high` are its 10th and 90th percentile. Times are milliseconds a run.
    """

    before_ms: float
    after_ms: float
    speedup: float
    low: float
    high: float
    rounds: int


def compare(
    before: Runner,
    after: Runner,
    feeds: Mapping[str, np.ndarray] | tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    *,
    seconds: float = 1.5,
    clock: Callable[[], float] | None = None,
) -> Comparison:
    """Time two models against each other for about `seconds` (0.3 is enough for a guard that looks for 10 %).

    A round is four blocks of runs in the order ABBA (BAAB in the next), and a model's time in a round is its fastest
    run there. `feeds` is one set for both, or a pair. Outputs are computed and dropped. `clock` is that of the wall
    unless another is given.
    """
    pair = feeds if isinstance(feeds, tuple) else (feeds, feeds)
    models = [_Timed(before, pair[0], clock), _Timed(after, pair[1], clock)]
    block = min(_BLOCK_SECONDS, seconds / 40)
    runs = [model.runs_in(block) for model in models]
    round_seconds = sum(2 * count * model.estimate for count, model in zip(runs, models, strict=True))
    rounds = int(np.clip(round(seconds / round_seconds), _FEWEST_ROUNDS, _MOST_ROUNDS))
    best = np.empty((rounds, 2))
    for index in range(rounds):
        order = (0, 1, 1, 0) if index % 2 == 0 else (1, 0, 0, 1)
        times: tuple[list[float], list[float]] = ([], [])
        for which in order:
            times[which].append(models[which].best_of(runs[which]))
        best[index] = [max(min(one), _LEAST_SECONDS) for one in times]
    ratios = best[:, 0] / best[:, 1]
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    before_ms, after_ms = np.median(best, axis=0) * 1e3
    return Comparison(float(before_ms), float(after_ms), float(middle), float(low), float(high), rounds)


def thread_clock() -> Callable[[], float]:
    """The clock of what this thread has computed, which other programs do not turn; the wall clock where it is coarse.

    For models that run in one thread: that is then the one that runs them.
    """
    fine = time.get_clock_info("thread_time").resolution < _FINE_SECONDS
    return time.thread_time if fine else time.perf_counter


def measure(session: Runner, feeds: Mapping[str, np.ndarray], *, seconds: float = 0.5) -> float:
    """Milliseconds a run: the best of a block, median over blocks that together last about `seconds`."""
    model = _Timed(session, feeds)
    runs = model.runs_in(_BLOCK_SECONDS)
    blocks = max(_FEWEST_ROUNDS, round(seconds / (runs * model.estimate)))
    return float(np.median([model.best_of(runs) for _ in range(blocks)]) * 1e3)


class _Timed:
    """A session with its inputs, warmed up, and a first estimate of its seconds a run."""

    def __init__(
        self, session: Runner, feeds: Mapping[str, np.ndarray], clock: Callable[[], float] | None = None
    ) -> None:
        session.run(feeds)  # raises the diagnostic if the feeds do not fit
        self._clock = clock or time.perf_counter
        self._run = session.prepared(feeds)
        self.estimate = self.best_of(_WARM_UP_RUNS)

    def runs_in(self, seconds: float) -> int:
        return max(_FEWEST_RUNS, round(seconds / self.estimate))

    def best_of(self, runs: int) -> float:
        """Seconds of the fastest of `runs` runs in a row."""
        best = float("inf")
        for _ in range(runs):
            start = self._clock()
            self._run()
            best = min(best, self._clock() - start)
        return best
