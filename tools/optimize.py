"""The flow of a run: optimize, verify, write beside, measure, and only then put everything in its place."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir.calibration import Statistics
from pruna_ir.decisions import DecisionLog, Identity
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Feeds, staged
from pruna_ir.instruments.verify import verify
from pruna_ir.pipeline.context import Steps
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.report.measure import Counts
from pruna_ir.report.summary import to_json
from pruna_ir.tools.job import Job, load_job
from pruna_ir.tools.options import STDOUT
from pruna_ir.tools.result import Written, make_summary, show, warn_of_losses
from pruna_ir.tools.sweep import sweep
from pruna_ir.tools.watch import Watch, time_report
from pruna_ir.writing import write_text

if TYPE_CHECKING:
    from pruna_ir.pipeline.manager import RunResult
    from pruna_ir.report.summary import Summary
    from pruna_ir.runtime.session import Session
    from pruna_ir.tools.plan import Output, Plan
    from pruna_ir.tools.talk import Talk


def run(plan: Plan, talk: Talk) -> None:
    """Do what the plan says."""
    job = load_job(plan, talk)
    with _settled():
        if plan.options.dry_run:
            _print_plan(job)
        elif plan.options.bisect:
            _bisect(job)
        elif plan.options.sweep:
            sweep(job)
        else:
            _optimize(job)


@contextmanager
def _settled() -> Iterator[None]:
    """Spare the garbage collector what is alive now: it would search a large model again and again, for nothing."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _print_plan(job: Job) -> None:
    plan = job.plan
    print(f"model     {plan.model} ({', '.join(map(str, job.model.inputs()))})")
    print(f"data      {plan.data or 'none'}")
    print(f"target    {', '.join(dict.fromkeys(output.target.name for output in plan.outputs))}")
    print(f"pipeline  {plan.manager.text or '(nothing)'}")
    for output in plan.outputs:
        print(f"back end  {output.backend}")
    for path in plan.written():
        print(f"writes    {path}")
    for line in _previews(job):
        print(line)


def _previews(job: Job) -> Iterator[str]:
    """What passes say that they would do, the first that can be asked: what comes after depends on what it does."""
    passes = job.plan.manager.passes
    index = next((index for index, item in enumerate(passes) if item.preview() is not None), None)
    preview = None if index is None else passes[index].preview()
    if index is None or preview is None:
        return
    with job.talk.progress() as progress:
        result = PassManager([*passes[:index], preview]).run(job.model, progress=progress, **job.settings)
    yield ""
    # Remarks with something at stake are about single groups, which the table shows.
    yield from (str(note.reason) for note in result.remarks if note.pass_name == preview.name and not note.stake)


def _bisect(job: Job) -> None:
    from pruna_ir.instruments.bisect import TOLERANCE, find_culprit

    options = job.plan.options
    tolerance = TOLERANCE if options.bisect_tolerance is None else options.bisect_tolerance
    with job.talk.progress() as progress:
        culprit = find_culprit(
            job.plan.manager,
            job.model,
            tolerance=tolerance,
            progress=progress,
            decisions=_decisions(job) if options.replay is not None else None,
            **job.settings,
        )
    nothing = f"no transformation moves an output by more than {tolerance:g} of its range"
    print(nothing if culprit is None else culprit)


def _optimize(job: Job) -> None:
    plan, talk = job.plan, job.talk
    counts = Counts.of(job.original)
    parts = [_Part(part, Watch(part.plan, talk)) for part in job.by_target()]
    calibrated: Statistics | None = None
    for part in parts:
        if len(parts) > 1:
            talk.say(f"for {part.job.plan.target.name}:")
        calibrated = part.optimize(calibrated)
    with ExitStack() as stack:
        samples = job.samples()
        for part in parts:
            part.written = [stack.enter_context(part.staged(output, samples)) for output in part.job.plan.outputs]
        summaries = [part.summary(counts, samples) for part in parts]
        for summary, part in zip(summaries, parts, strict=True):
            warn_of_losses(summary, part.job.plan, talk)
        if plan.options.save_stats is not None and calibrated is None:
            talk.warn(f"nothing was calibrated: `{plan.options.save_stats}` is not written")
        _publish(job, summaries, parts, calibrated)
    for summary, part in zip(summaries, parts, strict=True):
        show(summary, part.job.plan, talk)
        for line in time_report(part.watch.timing) if part.watch.timing is not None else []:
            talk.say(line)


@dataclass
class _Part:
    """What is done for one target."""

    job: Job
    watch: Watch
    result: RunResult = field(init=False)
    verified: Session = field(init=False)
    written: list[Written] = field(default_factory=list)

    def optimize(self, calibrated: Statistics | None) -> Statistics | None:
        """Run the passes; `calibrated` are the statistics of the targets before, what comes back has this one's too."""
        self.result = _run_passes(self.job, self.watch, _decisions(self.job), calibrated)
        help_text = "--verify-each names the pass that broke the model"
        self.verified = verify(self.job.model, "end of the pipeline", help_text)
        found = self.result.statistics
        return found if calibrated is None or found is None else found.beside(calibrated)

    @contextmanager
    def staged(self, output: Output, samples: list[Feeds]) -> Iterator[Written]:
        """The written and checked file of a back end."""
        with _staged(self.job, output, samples, self.verified) as written:
            yield written

    def summary(self, counts: Counts, samples: list[Feeds]) -> Summary:
        """Everything about this target, measured. Opens the test split."""
        return make_summary(self.job, counts, self.result, self.written, samples, self.watch.drift)


def _decisions(job: Job) -> DecisionLog:
    path = job.plan.options.replay
    if path is None:
        return DecisionLog()
    return DecisionLog.load(path, _identity(job))


def _identity(job: Job) -> Identity:
    return Identity.of(job.original, job.plan.manager, job.plan.target)


def _run_passes(job: Job, watch: Watch, log: DecisionLog, calibrated: Statistics | None) -> RunResult:
    options = job.plan.options
    steps = Steps(options.bisect_limit)
    loaded = [Statistics.load(path) for path in options.load_stats or []]
    try:
        with job.talk.progress() as progress:
            result = job.plan.manager.run(
                job.model,
                instruments=watch.instruments,
                decisions=log,
                statistics=reduce(Statistics.merge, loaded) if loaded else None,
                calibrated=calibrated,
                progress=progress,
                steps=steps,
                **job.settings,
            )
    except PrunaError as failure:
        notes = (*failure.diagnostic.notes, *watch.failure_notes(failure))
        raise PrunaError(replace(failure.diagnostic, notes=notes)) from failure
    if options.bisect_limit is not None:
        last = f", the last was {steps.taken[-1]}" if steps.taken else ""
        job.talk.say(f"stopped after {len(steps.taken)} transformations{last}")
    return result


@contextmanager
def _staged(job: Job, output: Output, samples: list[Feeds], verified: Session) -> Iterator[Written]:
    """The written and checked file of one back end, before it is published; one that nobody asked for is dropped.

    `verified` is a session of the model without graph optimizations.
    """
    backend = output.backend if job.data is None else output.backend.for_data(job.data)
    with ExitStack() as stack:
        path = output.path
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pruna-"))) / backend.file_name
        elif not path.parent.exists():  # the folder for several back ends
            path.parent.mkdir()
            stack.callback(_remove_if_empty, path.parent)
        yield Written(output, stack.enter_context(staged(job.model, backend, path, samples, verified)))


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _publish(job: Job, summaries: list[Summary], parts: list[_Part], calibrated: Statistics | None) -> None:
    """Put all files in their places, then what goes to stdout."""
    options, result = job.plan.options, parts[0].result
    for item in (item for part in parts for item in part.written):
        if item.output.path is not None:
            item.staged.publish()
    if options.decisions is not None:
        result.decisions.save(options.decisions, _identity(job))
    if options.save_stats is not None and calibrated is not None:
        calibrated.save(options.save_stats)
    if options.manifest is not None:
        write_text(options.manifest, json.dumps({"format": 1, "cuts": result.manifest}, indent=1) + "\n")
    if options.output == STDOUT:
        print(job.model)
    if options.json == STDOUT:
        sys.stdout.write(to_json(summaries))
    elif options.json is not None:
        write_text(options.json, to_json(summaries))
