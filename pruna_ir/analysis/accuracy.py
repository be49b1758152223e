"""How good a changed model still is, on data that decisions may look at: never the test split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.data.agreement import Agreement
from pruna_ir.data.margins import FEWEST, expected_loss
from pruna_ir.data.metrics import Metric, Run, evaluate, trim
from pruna_ir.diagnostics import PrunaError
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import cores

if TYPE_CHECKING:
    from pruna_ir.data import BoundDataset, Split
    from pruna_ir.model import Model

# Samples that a score is taken over, and that outputs are compared on.
SCORED_SAMPLES = 512
COMPARED_SAMPLES = 32
# Models with a free batch dimension are scored in batches of this size.
BATCH = 16
# A hopeless model is not run on more than this share of the samples, which must be so many at least.
GLANCE = 0.25
GLANCED_SAMPLES = 32


class _HopelessError(Exception):
    """Ends the scoring of a model that has lost too much on the first samples: `drop` is how much."""

    def __init__(self, drop: float) -> None:
        super().__init__(drop)
        self.drop = drop


@dataclass
class Evaluator:
    """Scores models against a reference on the calibration and train splits.

    The score is the dataset's metric where the samples have labels, else agreement with the reference.
    """

    data: BoundDataset
    reference: Model
    _splits: list[Split] = field(default_factory=list)
    _metrics: list[Metric] = field(default_factory=list)
    _expected: list[dict[str, np.ndarray]] = field(default_factory=list)
    _reference_score: float | None = None
    _reference_margins: np.ndarray | None = None
    _glanced: float | None = None

    def __post_init__(self) -> None:
        room = SCORED_SAMPLES
        for split in (self.data.calibration, self.data.train):
            if split is None or room <= 0:
                continue
            part = split.head(room).cached()
            self._splits.append(part)
            self._metrics.append(self._metric_for(part))
            room -= part.size if part.size is not None else room

    def _metric_for(self, split: Split) -> Metric:
        metric = self.data.metric()
        if metric is not None and (split.labelled or not metric.needs_labels):
            return metric
        return self._agreement()

    def _agreement(self) -> Agreement:
        return Agreement(Session(self.reference, threads=_threads()).run)

    @property
    def metric_name(self) -> str:
        """The name of the score."""
        return self._metrics[0].name

    @property
    def reference_score(self) -> float:
        """The reference's own score.

        Where its metric is zero, and so could not fall, agreement takes its place: the labels are not the model's.
        """
        if self._reference_score is None:
            self._reference_score = self._score(self.reference, self._remember)
            if self._reference_score == 0.0 and self._metrics[0].higher_is_better and not self._agrees:
                self._metrics = [self._agreement() for _ in self._splits]
                self._reference_score = self._score(self.reference, self._remember)
            self._reference_margins = self._margins()
        return self._reference_score

    @property
    def _agrees(self) -> bool:
        return isinstance(self._metrics[0], Agreement)

    def score(self, model: Model) -> float:
        """The score of a model, weighted over the splits by their numbers of samples."""
        return self._score(model)

    def drop(self, model: Model, hopeless: float = math.inf) -> float:
        """The relative loss of score against the reference; negative for a gain, infinite if the score is NaN.

        Of a classifier it is the loss to be expected, as far as its margins tell: single samples that change sides are
        noise. Once the first quarter of the samples shows a drop of more than `hopeless`, the drop there is the answer.
        """
        before = self.reference_score

        def glance(score: float) -> None:
            if self._glanced is not None and (drop := self._loss(self._glanced, score)) > hopeless:
                raise _HopelessError(drop)

        try:
            after = self._score(model, glance if math.isfinite(hopeless) else None)
        except _HopelessError as stopped:
            return stopped.drop
        wanted, found = self._reference_margins, self._margins()
        expected = expected_loss(wanted, found) if wanted is not None and found is not None and before else None
        return self._loss(before, after) if expected is None else expected / before

    def _margins(self) -> np.ndarray | None:
        """The margins of all samples as the model has them that was scored last, if all metrics can tell."""
        parts = [found for metric in self._metrics if (found := metric.margins()) is not None]
        return np.concatenate(parts) if len(parts) == len(self._metrics) else None

    def _loss(self, before: float, after: float) -> float:
        if math.isnan(after):
            return math.inf
        loss = before - after if self._metrics[0].higher_is_better else after - before
        return loss / abs(before) if before else float(loss > 0)

    def _remember(self, score: float) -> None:
        self._glanced = score

    def _score(self, model: Model, glance: Callable[[float], None] | None = None) -> float:
        """The score; `glance` is told that of the first quarter of the first split, where it has one."""
        run: Run = Session(model, threads=_threads()).run
        total = weight = 0.0
        for split, metric in zip(self._splits, self._metrics, strict=True):
            watched = _watched(run, split, metric, glance) if glance is not None else run
            size = float(split.size or 1)
            total += size * evaluate(watched, split, metric, BATCH)
            weight += size
            glance = None
        return total / weight

    def acceptable(self, drop: float, max_drop: float) -> bool:
        """Whether a drop is allowed: below the limit, or where samples are counted no more than one that changed sides.

        Of fifty images one more mistake is a drop of two per cent, and no evidence of anything.
        """
        wanted = self._reference_margins
        expects = wanted is not None and len(wanted) >= FEWEST
        if expects or not all(metric.counts_samples for metric in self._metrics):
            return drop <= max_drop
        samples = sum(split.size or 1 for split in self._splits)
        one_sample = 1.0 / (samples * max(abs(self.reference_score), 1e-9))
        return drop <= max(max_drop, one_sample * (1 + 1e-6))

    def compare(self, model: Model) -> tuple[float, float]:
        """SQNR in dB and the largest relative error of the outputs, over the first samples.

        Both are the worst of the float outputs (of all outputs if none is float) that the model still has; the error
        is relative to the output's range. SQNR is infinite for equal outputs; the error is infinite, and the SQNR minus
        infinity, for an output that is new, has another shape, or is not finite where the reference is.
        """
        if not self._expected:
            self._expected = self._outputs(self.reference)
        kept = {output.name for output in model.outputs()}
        if not kept <= self._expected[0].keys():
            return -math.inf, math.inf
        floats = {name for name in kept if self._expected[0][name].dtype.kind == "f"}
        distances: dict[str, _Distance] = {}
        for expected, found in zip(self._expected, self._outputs(model), strict=True):
            for name in floats or kept:
                distances.setdefault(name, _Distance()).add(expected[name], found[name])
        sqnr = min((distance.sqnr_db for distance in distances.values()), default=math.inf)
        return sqnr, max((distance.error for distance in distances.values()), default=0.0)

    def _outputs(self, model: Model) -> list[dict[str, np.ndarray]]:
        session = Session(model, threads=_threads())
        batches = self._splits[0].head(COMPARED_SAMPLES).batches(BATCH)
        return [{k: np.array(v) for k, v in trim(session.run(batch.feeds), batch).items()} for batch in batches]


def _watched(run: Run, split: Split, metric: Metric, glance: Callable[[float], None]) -> Run:
    """`run`, which shows `glance` the metric after the first quarter of the batches."""
    samples = int((split.size or 0) * GLANCE)
    batches = split.batches(BATCH)
    if samples < GLANCED_SAMPLES:
        return run
    left = -(-samples // batches.batch_size)

    def watch(feeds: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        nonlocal left
        if left == 0 and (score := _so_far(metric)) is not None:
            glance(score)
        left -= 1
        return run(feeds)

    return watch


def _so_far(metric: Metric) -> float | None:
    """The metric of the samples until now; None if these alone have none (no image with a box, one class only)."""
    try:
        return metric.result()
    except PrunaError:
        return None


@dataclass
class _Distance:
    """Of one output over all batches: energies of what is wanted and of the difference, and the largest error."""

    signal: float = 0.0
    noise: float = 0.0
    error: float = 0.0

    def add(self, wanted: np.ndarray, found: np.ndarray) -> None:
        """Add a batch. Equal values are no difference, infinite or NaN as they may be: masks hold -inf."""
        if found.shape != wanted.shape:
            self.noise = self.error = math.inf
            return
        wanted, found = wanted.astype(np.float64), found.astype(np.float64)
        same = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0.0, np.abs(found - wanted))
        finite = wanted[np.isfinite(wanted)]
        span = float(np.ptp(finite)) if finite.size else 0.0
        scale = span or float(np.abs(finite).max(initial=0.0)) or 1.0
        self.signal += float(np.square(finite).sum())
        self.noise += float(np.square(gap).sum())
        self.error = max(self.error, float(np.nan_to_num(gap, nan=np.inf, posinf=np.inf).max(initial=0.0)) / scale)

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, in dB."""
        if not math.isfinite(self.noise):
            return -math.inf
        if self.noise == 0.0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def _threads() -> int:
    return cores() // 2 if cores() > 4 else cores()
