"""The final measurements: after the last decision, the original and the written file next to each other.

This is the only code that opens the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.counting import count_nodes, count_parameters
from pruna_ir.analysis.macs import count_macs
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.data.agreement import Agreement
from pruna_ir.data.metrics import Metric, Outputs, evaluate
from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.context import Progress, silent
from pruna_ir.report.summary import Figures, Score, Speedup
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.runner import Runner

if TYPE_CHECKING:
    from pruna_ir.data import BoundDataset, Split
    from pruna_ir.model import Model

# Models with a free batch dimension are scored in batches of this size.
BATCH = 16
# Seconds that the two models are timed for.
SECONDS = 1.5

Feeds = Mapping[str, np.ndarray]
Open = Callable[[], Runner]


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of one run before and after, and their ratio, timed in turn."""

    before_ms: float | Unmeasured
    after_ms: float | Unmeasured
    speedup: Speedup | Unmeasured

    @staticmethod
    def missing(reason: str) -> Latencies:
        """No latencies, for one reason."""
        unmeasured = Unmeasured(reason)
        return Latencies(unmeasured, unmeasured, unmeasured)


@dataclass(frozen=True)
class Counts:
    """The figures that follow from the graph alone."""

    nodes: int
    parameters: int
    macs: int | Unmeasured

    @staticmethod
    def of(model: Model) -> Counts:
        """Count a model."""
        return Counts(count_nodes(model), count_parameters(model), count_macs(model))

    def with_measured(self, size: int, latency_ms: float | Unmeasured, metric: Score | Unmeasured) -> Figures:
        """All figures of a model; `size` is in bytes on disk."""
        return Figures(self.nodes, self.parameters, self.macs, size, latency_ms, metric)


def measure_latencies(open_before: Open, open_after: Open, feeds: Feeds, seconds: float = SECONDS) -> Latencies:
    """Time one sample in one thread (the sessions' own), both models in turn."""
    try:
        timed = compare(open_before(), open_after(), feeds, seconds=seconds)
    except PrunaError as failure:
        return Latencies.missing(failure.diagnostic.message)
    return Latencies(timed.before_ms, timed.after_ms, Speedup(timed.speedup, timed.low, timed.high))


def measure_scores(
    data: BoundDataset | None, open_before: Open, open_after: Open, progress: Progress = silent
) -> tuple[Score, Score] | Unmeasured:
    """The metric of both models on the test split, or where there is none on the calibration split.

    Without labels that the dataset's metric can use, the score is the agreement with the model before. The models are
    opened only if there is something to score them on.
    """
    if data is None:
        return Unmeasured("no data was given")
    if data.synthetic:
        return Unmeasured("the samples are random numbers")
    try:
        split = data.test or data.calibration
        if split is None:
            return Unmeasured("the data has neither a test nor a calibration split")
        split = split.cached()
        sessions = {"before": open_before(), "after": open_after()}
        metric = _metric_for(data, split, sessions["before"])
        scores = [
            _score(session, split, metric, _Counted(progress, f"{metric.name}, {label} ({split.name})", split))
            for label, session in sessions.items()
        ]
    except PrunaError as failure:
        return Unmeasured(failure.diagnostic.message)
    return scores[0], scores[1]


def _metric_for(data: BoundDataset, split: Split, before: Runner) -> Metric:
    metric = data.metric()
    if metric is not None and (split.labelled or not metric.needs_labels):
        return metric
    return Agreement(before.run)


def _score(session: Runner, split: Split, metric: Metric, counted: _Counted) -> Score:
    value = evaluate(counted.watch(session.run), split, metric, BATCH)
    return Score(metric.name, value, split.name, metric.higher_is_better)


@dataclass
class _Counted:
    """Reports the samples that went through a model."""

    progress: Progress
    task: str
    split: Split
    done: int = 0

    def watch(self, run: Callable[[Feeds], Outputs]) -> Callable[[Feeds], Outputs]:
        def counting(feeds: Feeds) -> Outputs:
            outputs = run(feeds)
            self.done += max((len(value) for value in feeds.values() if value.ndim), default=1)
            total = self.split.size or 0
            self.progress(self.task, min(self.done, total) if total else self.done, total)
            return outputs

        return counting
