"""Finding the one transformation that broke the numbers, by running a pipeline up to chosen steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.pipeline.context import Progress, Steps, silent
from pruna_ir.pipeline.manager import PassManager, bind
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model

# Error, relative to the range of an output, above which the outputs count as broken.
TOLERANCE = 1e-3
# Samples of the dataset, or else sets of random inputs, that outputs are compared on.
SAMPLES = 4

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Culprit:
    """The first step found after which the outputs differ too much.

    `name` is the pass, or the rule and its node; `step` counts from 1 up to `total`. `before` and `after` are the
    largest errors, relative to the output's range, without and with the step: infinite for a model that does not run,
    or if the pipeline fails, which `failure` then says.
    """

    name: str
    step: int
    total: int
    before: float
    after: float
    failure: str = ""

    def __str__(self) -> str:
        broken = self.failure or f"the error of the outputs goes from {self.before:.1e} to {self.after:.1e}"
        return f"step {self.step} of {self.total}, {self.name}: {broken}"


def find_culprit(
    manager: PassManager,
    model: Model,
    *,
    data: Any = None,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
    decisions: DecisionLog | None = None,
    **options: Any,
) -> Culprit | None:
    """The step of a pipeline that makes the outputs of `model` differ by more than `tolerance`; None if none does.

    The whole pipeline runs once; further runs from fresh clones stop after a number of steps (`Steps`) found by
    binary search, with the decisions of the first run replayed. Both sides of the answer have been run: without the
    step the outputs are right, with it they are wrong. Where errors come and go, it is one such place, not always the
    earliest. `model` is not changed. `options` are those of `PassManager.run`. Raises what the pipeline raises before
    it takes a step.
    """
    trial = _Trial(manager, model, bind(data, model), options, decisions)
    total, error, failure = trial.run(None)
    if error <= tolerance:
        return None
    trial.require_start(failure)
    good, bad = 0, total
    errors = {0: 0.0, total: error}
    rounds = math.ceil(math.log2(max(total, 1)))
    while bad - good > 1:
        progress("bisecting", len(errors) - 2, rounds)
        middle = (good + bad) // 2
        _, errors[middle], reason = trial.run(middle)
        if errors[middle] <= tolerance:
            good = middle
        else:
            bad, failure = middle, reason
    return Culprit(trial.names[bad - 1], bad, total, errors[good], errors[bad], failure)


@dataclass
class _Trial:
    """Runs the pipeline up to a step and compares the outputs with those of the untouched model."""

    manager: PassManager
    model: Model
    data: BoundDataset | None
    options: dict[str, Any]
    decisions: DecisionLog | None
    names: list[str] = field(default_factory=list)
    _expected: list[tuple[Arrays, Arrays]] = field(default_factory=list)

    def __post_init__(self) -> None:
        session = Session(self.model, optimize=False)
        calibration = self.data.calibration if self.data is not None else None
        if calibration is not None:
            batches = calibration.head(SAMPLES).batches(SAMPLES)
            self._expected = [(batch.feeds, session.run(batch.feeds)) for batch in batches]
        else:
            self._expected = [runnable_feeds(session.run, session.inputs, seed) for seed in range(SAMPLES)]

    def require_start(self, failure: str) -> None:
        """Raise if a pipeline that fails does so without taking any step: then no step is to blame."""
        if failure:
            self.manager.run(
                self.model.clone(), data=self.data, steps=Steps(0), decisions=self.decisions, **self.options
            )

    def run(self, limit: int | None) -> tuple[int, float, str]:
        """Steps taken, the largest error of the outputs, and the message if the pipeline or the model fails.

        The first run records its decisions, unless some were given to replay; the others replay them.
        """
        steps, candidate = Steps(limit), self.model.clone()
        log = self.decisions if self.decisions is not None else DecisionLog()
        try:
            self.manager.run(candidate, data=self.data, steps=steps, decisions=log, **self.options)
            error, failure = self._error(candidate), ""
        except PrunaError as problem:
            error, failure = math.inf, problem.diagnostic.message
        self.decisions = DecisionLog(log.entries, replaying=True)
        if limit is None:
            self.names = steps.taken
        return len(steps.taken), error, failure

    def _error(self, candidate: Model) -> float:
        session = Session(candidate, optimize=False)
        return max(relative_error(wanted, session.run(feeds)) for feeds, wanted in self._expected)
