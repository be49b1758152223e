"""What a run came to: its figures, its table, and warnings about what got worse."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Feeds, Staged
from pruna_ir.remarks import best_first
from pruna_ir.report.measure import Counts, Latencies, measure_latencies, measure_scores
from pruna_ir.report.summary import ArtifactFigures, Score, Speedup, StageFigures, Summary
from pruna_ir.report.table import figures_table, missing_figures, passes_table, remark_counts
from pruna_ir.targets.host import host_kind
from pruna_ir.tools.options import REMARK_KINDS

if TYPE_CHECKING:
    from pruna_ir.instruments.drift import Drift
    from pruna_ir.pipeline.context import Progress
    from pruna_ir.pipeline.manager import RunResult, Stage
    from pruna_ir.remarks import Remark
    from pruna_ir.runtime.runner import Runner
    from pruna_ir.tools.job import Job
    from pruna_ir.tools.plan import Output, Plan
    from pruna_ir.tools.talk import Talk

# Below this speed the result counts as slower than the original, if hardly any round saw it faster: the rest is noise.
SLOWER = 0.97
Scores = tuple[Score | Unmeasured, Score | Unmeasured]


@dataclass(frozen=True)
class Written:
    """A back end's file, checked, and where it is to go."""

    output: Output
    staged: Staged

    def session(self, threads: int = 1) -> Runner:
        """The file in the runtime that it is for; E003 if that does not run here."""
        return self.staged.emitted.session(threads)


def make_summary(
    job: Job,
    counts: Counts,
    result: RunResult,
    written: Sequence[Written],
    samples: Sequence[Feeds],
    drift: Drift | None,
) -> Summary:
    """Measure the first written file next to the original, and put all figures together. Opens the test split."""
    first = written[0]
    latencies = _latencies(job, first, samples)
    with job.talk.progress() as progress:
        before, after = _scores(job, first, progress)
    size = bytes_on_disk(job.plan.model)
    return Summary(
        model=str(job.plan.model),
        target=job.plan.target.name,
        pipeline=job.plan.manager.text,
        before=counts.with_measured(size, latencies.before_ms, before),
        after=Counts.of(job.model).with_measured(first.staged.artifact.bytes, latencies.after_ms, after),
        speedup=latencies.speedup,
        stages=[_stage(stage, drift) for stage in result.stages],
        artifacts=[_artifact(job, item, latencies) for item in written if item.output.path is not None],
        remarks=[*result.remarks, *(remark for item in written for remark in item.staged.artifact.remarks)],
        runtime=first.output.backend.runtime,
    )


def _latencies(job: Job, item: Written, samples: Sequence[Feeds]) -> Latencies:
    """Both models in the back end's runtime, or in ONNX Runtime if that is on the target's processor."""
    target, backend = job.plan.target, item.output.backend
    if not samples:
        return Latencies.missing("no inputs are known on which the model runs and gives numbers")
    try:
        original = backend.original(job.original)
    except PrunaError as failure:
        message = f"the original cannot be written for {backend.runtime}: {failure.diagnostic.message}"
        return Latencies.missing(message)
    if original is not None:
        return measure_latencies(lambda: original, item.session, samples[0])
    if host_kind() not in target.runs_on:
        return Latencies.missing(f"the target `{target.name}` is not this machine ({host_kind()})")
    return measure_latencies(job.original_session, item.session, samples[0])


def _scores(job: Job, item: Written, progress: Progress) -> Scores:
    threads = os.cpu_count() or 1
    scores = measure_scores(job.data, partial(job.original_session, threads), partial(item.session, threads), progress)
    return (scores, scores) if isinstance(scores, Unmeasured) else scores


def _stage(stage: Stage, drift: Drift | None) -> StageFigures:
    reason = "not asked for: --drift=off" if drift is None else drift.reason
    missing = Unmeasured(reason or "the pass changed nothing")
    sqnr = missing if stage.sqnr_db is None else stage.sqnr_db
    if drift is None or drift.metric_name is None or stage.metric is None:
        unscored = missing if drift is None or drift.metric else Unmeasured("not asked for: --drift=metric measures it")
        return StageFigures(stage, sqnr, unscored)
    return StageFigures(stage, sqnr, Score(drift.metric_name, stage.metric, "calibration"))


def _artifact(job: Job, item: Written, latencies: Latencies) -> ArtifactFigures:
    """The first back end's file is the one that was timed."""
    if item.output is job.plan.outputs[0]:
        return ArtifactFigures(item.staged.artifact, latencies.after_ms)
    return ArtifactFigures(item.staged.artifact, Unmeasured("only the first back end's file is timed"))


def warn_of_losses(summary: Summary, plan: Plan, talk: Talk) -> None:
    """Say loudly what got worse, and what was asked for and is not there: nothing may be silently worse."""
    for remark in summary.remarks:
        if remark.warns:
            talk.warn(f"{remark.pass_name}: {remark.reason}")
    before, after, speedup = summary.before, summary.after, summary.speedup
    if isinstance(speedup, Speedup) and speedup.median < SLOWER and speedup.high < 1:
        talk.warn(f"the result is slower: {speedup.median:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})")
    if after.bytes > before.bytes:
        talk.warn(f"the result is larger: {after.bytes:,} bytes on disk, the original has {before.bytes:,}")
    if isinstance(before.metric, Score) and isinstance(after.metric, Score):
        loss = before.metric.value - after.metric.value
        loss = loss if before.metric.higher_is_better else -loss
        relative = loss / abs(before.metric.value) if before.metric.value else float(loss > 0)
        if relative > plan.options.max_drop:
            where, limit = f"{after.metric.name} on `{after.metric.split}`", plan.options.max_drop
            talk.warn(f"{where} dropped by {relative:.2%}, more than --max-drop={limit:g} ({limit:.2%})")


def show(summary: Summary, plan: Plan, talk: Talk) -> None:
    """Remarks that were asked for, what the passes did, and the figures."""
    if plan.options.remarks is not None:
        chosen = [remark for remark in summary.remarks if _selected(remark, plan.options.remarks)]
        for line in best_first(chosen) if plan.options.remarks == "missed" else map(str, chosen):
            talk.say(line)
    if summary.stages:
        talk.show(passes_table(summary))
    talk.show(figures_table(summary))
    for line in missing_figures(summary):
        talk.say(line)
    if summary.remarks and plan.options.remarks is None:
        missed = any(remark.kind == "missed" for remark in summary.remarks)
        hint = "--remarks=missed shows why something was not done" if missed else "--remarks shows them"
        talk.say(f"remarks: {remark_counts(summary)} ({hint})")
    for item in summary.artifacts:
        talk.say(f"wrote {item.artifact.path} ({item.artifact.backend}, {item.artifact.bytes:,} bytes, checked)")
    if not summary.artifacts and plan.options.output is None:
        talk.say("nothing was written: name a file with -o")


def _selected(remark: Remark, wanted: str) -> bool:
    """Whether `--remarks=wanted` shows a remark: by its kind, or by a regular expression of its pass."""
    if wanted in REMARK_KINDS:
        return wanted in ("all", remark.kind)
    return re.search(wanted, remark.pass_name) is not None
