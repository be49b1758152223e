"""`--sweep`: the same pipeline to several budgets, and one table to choose from.

The test split stays closed: whoever chooses a budget by its score there has no honest score left. Scores are those that
decisions may look at.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.emission import refuse_same_file
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.report.measure import Counts
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind
from pruna_ir.tools.budget import sweep_points
from pruna_ir.tools.job import Job
from pruna_ir.tools.options import STDOUT
from pruna_ir.writing import unwritable, write_text

if TYPE_CHECKING:
    from pruna_ir.pipeline.pass_base import Pass

# Seconds of timing a model against the original.
SECONDS = 1.0


@dataclass(frozen=True)
class Point:
    """One budget: fractions of the original that are left, and how good and fast the model is. None: not measured.

    `problem` says why there is no model.
    """

    budget: str
    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    speedup: float | None = None
    sqnr_db: float | None = None
    score: float | None = None
    file: str | None = None
    problem: str | None = None


def sweep(job: Job) -> None:
    """Run the pipeline for every budget; the table goes to stdout, or the JSON where that is asked for there."""
    plan = job.plan
    points = sweep_points(plan.manager.passes, str(plan.options.sweep))
    folder = _folder(job)
    measure = _Measure(job)
    rows = [Point("original", 1.0, 1.0, 1.0, 1.0, score=measure.original_score())]
    for number, (budget, passes) in enumerate(points.items(), 1):
        job.talk.say(f"{budget} ({number} of {len(points)})")
        rows.append(_try(job, budget, passes, measure, folder))
    document = json.dumps([asdict(row) for row in rows], indent=1, allow_nan=False) + "\n"
    if plan.options.json == STDOUT:
        sys.stdout.write(document)
        return
    if plan.options.json is not None:
        write_text(plan.options.json, document)
    for line in table(rows, measure.score_name):
        print(line)


def _try(job: Job, budget: str, passes: Sequence[Pass], measure: _Measure, folder: Path | None) -> Point:
    model = job.original.clone()
    try:
        with job.talk.progress() as progress:
            result = PassManager(passes).run(model, progress=progress, **job.settings)
    except PrunaError as failure:
        if failure.diagnostic.code != "P010":
            raise
        job.talk.warn(failure.diagnostic.message)
        return Point(budget, problem=failure.diagnostic.message)
    for remark in result.remarks:
        if remark.warns:
            job.talk.warn(f"{budget}: {remark.reason}")
    file = None
    if folder is not None:
        file = folder / f"{budget.replace('=', '-')}.onnx"
        model.save(file)
    return measure.point(budget, model, file)


def _folder(job: Job) -> Path | None:
    """The folder for the models, made if it is not there."""
    folder = job.plan.options.output
    if folder is None:
        return None
    if folder == STDOUT or folder.is_file():
        raise error("C003", "--sweep writes several models: -o must be a folder", place=folder)
    refuse_same_file(folder, [job.plan.model])
    try:
        folder.mkdir(exist_ok=True)
    except OSError as failure:
        raise unwritable(folder, failure) from None
    return folder


class _Measure:
    """Compares models with the original."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._counts = Counts.of(job.original)
        self._bytes = int(job.original.to_proto().ByteSize())
        scored = job.data is not None and not job.data.synthetic
        self._evaluator = Evaluator(job.data, job.original) if scored and job.data is not None else None
        self._samples = job.samples() if host_kind() in job.plan.target.runs_on else []

    @property
    def score_name(self) -> str:
        """What the score is called."""
        return self._evaluator.metric_name if self._evaluator is not None else "score"

    def original_score(self) -> float | None:
        """The original's score."""
        return self._evaluator.reference_score if self._evaluator is not None else None

    def point(self, budget: str, model: Model, file: Path | None) -> Point:
        """The figures of a model."""
        counts = Counts.of(model)
        sqnr, score = None, None
        if self._evaluator is not None:
            sqnr, score = self._evaluator.compare(model)[0], self._evaluator.score(model)
        return Point(
            budget,
            _share(counts.macs, self._counts.macs),
            _share(counts.parameters, self._counts.parameters),
            int(model.to_proto().ByteSize()) / self._bytes,
            self._speedup(model),
            sqnr if sqnr is not None and math.isfinite(sqnr) else None,
            score,
            None if file is None else str(file),
        )

    def _speedup(self, model: Model) -> float | None:
        if not self._samples:
            return None
        before = self._job.original_session()
        return compare(before, Session(model), self._samples[0], seconds=SECONDS).speedup


def _share(after: int | Unmeasured, before: int | Unmeasured) -> float | None:
    if isinstance(after, Unmeasured) or isinstance(before, Unmeasured):
        return None
    return after / max(before, 1)


def table(rows: Sequence[Point], score_name: str) -> Iterator[str]:
    """The rows as a Markdown table."""
    yield f"| budget | MACs | parameters | bytes | speed | SQNR | {score_name} |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        if row.problem is not None:
            yield f"| {row.budget} | {row.problem} | | | | | |"
            continue
        cells = [_cell(row.macs, ".3f"), _cell(row.params, ".3f"), _cell(row.bytes, ".3f")]
        cells += [_cell(row.speedup, ".2f", "x"), _cell(row.sqnr_db, ".1f", " dB"), _cell(row.score, ".4f")]
        yield f"| {row.budget} | {' | '.join(cells)} |"


def _cell(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
