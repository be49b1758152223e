"""The pass manager: runs a pipeline over a model, keeps the IR's promises checked, and lets instruments watch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs

from pruna_ir import registry
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.instruments.base import Instrument
from pruna_ir.model import Model
from pruna_ir.model.collection import collection_paused
from pruna_ir.pipeline import build
from pruna_ir.pipeline.context import Context, Progress, Steps, silent
from pruna_ir.pipeline.grammar import PLACE
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.remarks import Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.analysis.quantized import Quantization
    from pruna_ir.calibration import Statistics
    from pruna_ir.data import BoundDataset
    from pruna_ir.pipeline.rules import RuleStats
    from pruna_ir.targets import Target


@dataclass
class Stage:
    """What one pass of a run did. `sqnr_db`, `max_error` and `metric` are there when the drift was measured."""

    text: str
    changed: bool
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    sqnr_db: float | None = None
    max_error: float | None = None
    metric: float | None = None


@dataclass
class RunResult:
    """The outcome of a run: the model, what each pass did, and every remark."""

    model: Model
    stages: list[Stage] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    rule_stats: list[dict[str, RuleStats]] = field(default_factory=list)
    decisions: DecisionLog = field(default_factory=DecisionLog)
    statistics: Statistics | None = None
    quantization: Quantization | None = None
    manifest: list[dict[str, Any]] = field(default_factory=list)

    @property
    def graph(self) -> gs.Graph:
        """The optimized graph."""
        return self.model.graph

    @property
    def changed(self) -> bool:
        """Whether any pass changed the model."""
        return any(stage.changed for stage in self.stages)


class PassManager:
    """An ordered list of passes that can be run, as text and as objects."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.passes = tuple(passes)
        text = self.text
        build.check_order(self.passes, [item.element() for item in self.passes], text, "pipeline")

    @classmethod
    def parse(cls, text: str, place: str = PLACE) -> PassManager:
        """The manager for pipeline text, e.g. `simplify,fuse,quantize<target=ort-cpu>`; raises P001 to P005."""
        return cls(build.build(text, place))

    @property
    def text(self) -> str:
        """The pipeline's canonical text."""
        return build.to_text(self.passes)

    def run(
        self,
        model: Model | gs.Graph,
        *,
        data: Any = None,
        target: Target | str = "ort-cpu",
        instruments: Sequence[Instrument] = (),
        decisions: DecisionLog | None = None,
        progress: Progress = silent,
        max_drop: float = 0.01,
        goal: str = "speed",
        steps: Steps | None = None,
        statistics: Statistics | None = None,
        calibrated: Statistics | None = None,
    ) -> RunResult:
        """Run the passes over `model`, which is changed in place (a `gs.Graph` is copied: take `result.graph`).

        `data` is a Dataset, or whatever `Dataset.of` takes. `statistics` of an earlier run are used in place of
        calibration, and those that this run collected are in the result. `calibrated` are those that a run for another
        target collected on this data: only what they lack is collected. Raises `PrunaError`; the model is then in
        the state that the failing pass left it in.
        """
        model = model if isinstance(model, Model) else Model.load(model)
        target = registry.target(target) if isinstance(target, str) else target
        context = Context(
            reference=model.clone(),
            target=target,
            data=bind(data, model),
            decisions=decisions or DecisionLog(),
            steps=steps or Steps(),
            progress=progress,
            max_drop=max_drop,
            goal=goal,
            statistics=statistics,
            calibrated=calibrated,
        )
        self._check_needs(context)
        result = RunResult(model, decisions=context.decisions, rule_stats=context.rule_stats)
        result.remarks += [Remark(RemarkKind.ANALYSIS, "load", "", note) for note in model.notes]
        for instrument in instruments:
            instrument.start(model, context)
        for index, item in enumerate(self.passes):
            answers = [instrument.should_run(item, index) for instrument in instruments]
            if all(answers):
                self._step(item, index, model, context, result, instruments)
        for instrument in instruments:
            instrument.finish(model, context)
        result.statistics, result.quantization = context.collected, context.quantization
        result.manifest = context.manifest
        return result

    def _check_needs(self, context: Context) -> None:
        for item in self.passes:
            if Need.DATA in item.needed():
                context.require_data(item.name)

    def _step(
        self,
        item: Pass,
        index: int,
        model: Model,
        context: Context,
        result: RunResult,
        instruments: Sequence[Instrument],
    ) -> None:
        for instrument in instruments:
            instrument.before(item, index, model, context)
        start = time.perf_counter()
        try:
            outcome = self._run_pass(item, model, context)
            stage = Stage(str(item), outcome.changed, time.perf_counter() - start, outcome.counts)
            result.stages.append(stage)
            result.remarks += outcome.remarks
            for instrument in instruments:
                instrument.after(item, index, model, context, stage)
        except Exception as failure:
            for instrument in instruments:
                instrument.failed(item, index, failure)
            if isinstance(failure, PrunaError):
                raise
            message = f"`{item.name}` failed: {type(failure).__name__}: {failure}"
            help_text = "this is a bug in the pass: please report it with the reproducer"
            raise error("P007", message, place=str(item), help=help_text) from failure

    @staticmethod
    def _run_pass(item: Pass, model: Model, context: Context) -> PassResult:
        from pruna_ir.pipeline.rules import Rule

        # A driver of rules counts their applications as steps; any other pass is one step.
        counts_itself = isinstance(item, Rule) or getattr(item, "counts_steps", False)
        if not counts_itself and not context.steps.take(item.name):
            return PassResult()
        # Doing nothing is repeatable: levels name cleaning passes several times.
        if item in context.settled:
            return PassResult()
        # Exact passes keep what they make; approximate ones try many models and throw them away.
        with collection_paused() if item.effect is Effect.EXACT else nullcontext():
            outcome = item.run(model, context)
            if outcome.changed:
                model.check(item.name)
        if outcome.changed:
            context.settled.clear()
        elif item.effect is Effect.EXACT:
            context.settled.add(item)
        return outcome


def bind(data: Any, model: Model) -> BoundDataset | None:
    """The dataset of a run, from whatever `PassManager.run` takes, bound to the model's inputs."""
    if data is None:
        return None
    from pruna_ir.data import BoundDataset, Dataset

    return data if isinstance(data, BoundDataset) else Dataset.of(data).bind(model.inputs())
