"""The flow of a run: optimize, verify, write beside, measure, and only then put everything in its place."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
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
    print(f"target    {plan.target.name}")
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
    log = _decisions(job)
    counts = Counts.of(job.original)
    watch = Watch(plan, talk)
    result = _run_passes(job, watch, log)
    verified = verify(job.model, "end of the pipeline", "--verify-each names the pass that broke the model")
    with ExitStack() as stack:
        samples = job.samples()
        written = [stack.enter_context(_staged(job, output, samples, verified)) for output in plan.outputs]
        summary = make_summary(job, counts, result, written, samples, watch.drift)
        warn_of_losses(summary, plan, talk)
        if plan.options.save_stats is not None and result.statistics is None:
            talk.warn(f"nothing was calibrated: `{plan.options.save_stats}` is not written")
        _publish(job, summary, result, written)
    show(summary, plan, talk)
    for line in time_report(watch.timing) if watch.timing is not None else []:
        talk.say(line)


def _decisions(job: Job) -> DecisionLog:
    path = job.plan.options.replay
    if path is None:
        return DecisionLog()
    return DecisionLog.load(path, _identity(job))


def _identity(job: Job) -> Identity:
    return Identity.of(job.original, job.plan.manager, job.plan.target)


def _run_passes(job: Job, watch: Watch, log: DecisionLog) -> RunResult:
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
    backend = output.backend
    with ExitStack() as stack:
        path = output.path
        if path is None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pruna-"))) / f"model{backend.suffix}"
        elif not path.parent.exists():  # the folder for several back ends
            path.parent.mkdir()
            stack.callback(_remove_if_empty, path.parent)
        yield Written(output, stack.enter_context(staged(job.model, backend, path, samples, verified)))


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _publish(job: Job, summary: Summary, result: RunResult, written: list[Written]) -> None:
    """Put all files in their places, then what goes to stdout."""
    options = job.plan.options
    for item in written:
        if item.output.path is not None:
            item.staged.publish()
    if options.decisions is not None:
        result.decisions.save(options.decisions, _identity(job))
    if options.save_stats is not None and result.statistics is not None:
        result.statistics.save(options.save_stats)
    if options.manifest is not None:
        write_text(options.manifest, json.dumps({"format": 1, "cuts": result.manifest}, indent=1) + "\n")
    if options.output == STDOUT:
        print(job.model)
    if options.json == STDOUT:
        sys.stdout.write(summary.to_json())
    elif options.json is not None:
        write_text(options.json, summary.to_json())
