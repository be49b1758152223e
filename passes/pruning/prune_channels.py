"""The prune-channels pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis, Options, analyze
from pruna_ir.diagnostics import error
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.pruning.alignment import budget_beyond, multiples
from pruna_ir.passes.pruning.allocation.budgets import WORDS
from pruna_ir.passes.pruning.candidates import Candidate, Limits, Survey, survey_groups
from pruna_ir.passes.pruning.choice import LATENCY, Choice, Goal, share_left
from pruna_ir.passes.pruning.criteria.criteria import CRITERIA
from pruna_ir.passes.pruning.cutting import cut
from pruna_ir.passes.pruning.listing import group_lines
from pruna_ir.passes.pruning.manifest import manifest
from pruna_ir.passes.pruning.ranking import OBS, Feeds, Ranker
from pruna_ir.passes.pruning.ratios import ratios_of, read_ratios
from pruna_ir.passes.pruning.recovery import cut_with_least_squares
from pruna_ir.passes.pruning.samples import first_feeds, training_feeds
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# A budget that is missed by less is met: the solver adds up floats.
_NOTICEABLE = 1e-6
NO_GROUPS = "no weight of the model writes channels that another one reads"


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Remove channels, to a budget, and let what is left make up for them.

    Before:  x -> Conv 64 -> Relu -> Conv 64 -> y
    After:   x -> Conv 40 -> Relu -> Conv 64 -> y

    Channels that must go together are a group (docs/axes.md). Budgets are the fractions of the original that may be
    left, and the least total error within them decides how wide each group stays: its own error curve, scaled by the
    measured effect of this group alone on the outputs. `ratio` removes the same share of every group instead. Then
    the layers are solved once, in order, by least squares against the original's outputs. Labels are not needed, and
    test samples not looked at.
    """

    name: ClassVar[str] = "prune-channels"
    effect: ClassVar[Effect] = Effect.STRUCTURAL
    before: ClassVar[tuple[str, ...]] = (
        "quantize",
        "quantize-dynamic",
        "round-weights",
        "store-weights",
        "convert-fp16",
    )
    budgets: ClassVar[tuple[str, ...]] = ("macs", "params", "bytes", LATENCY)

    macs: float | None = option(None, "fraction of the original's MACs that may be left", low=0.0, high=1.0)
    params: float | None = option(None, "fraction of its parameters, likewise", low=0.0, high=1.0)
    bytes: float | None = option(None, "fraction of its bytes, likewise", low=0.0, high=1.0)
    latency: float | None = option(None, "fraction of its measured time, likewise", low=0.0, high=1.0)
    ratio: float | None = option(
        None, "share of every group's channels to remove, instead of a budget", low=0.0, high=1.0
    )
    ratios: tuple[str, ...] = option((), "shares of single groups, as PATTERN:SHARE over the layers that write them")
    criterion: Literal["obs", "l1", "l2", "group-l2", "bn-scale", "fpgm", "activation", "random"] = option(
        OBS, "what a channel is worth: obs is the least-squares error without it"
    )
    recover: Literal["lstsq", "none"] = option("lstsq", "how the rest makes up for it")
    measure: bool = option(True, "measure each group's effect on the outputs, if there are data")
    round_to: int | None = option(
        None, "layers keep multiples of this many channels; none: the target's, or what the budget needs", low=1
    )
    min_channels: int = option(1, "layers keep at least this many channels", low=1)
    include: tuple[str, ...] = option((), "only layers that these name: globs or op:TYPE; empty: all")
    exclude: tuple[str, ...] = option((), "layers that keep their channels, likewise")
    split: Literal["inner", "outer"] = option("inner", "cut a part of every attention head, or whole heads")
    steps: int = option(1, "cut in so many steps, each measured anew", low=1, high=64)
    samples: int = option(2048, "calibration and train samples to use at most", low=1)
    dry: bool = option(False, "say what would be cut, and change nothing")

    def needed(self) -> frozenset[Need]:
        """Data for what rests on them; raises P004 and P006 for budgets that make no sense or are missing."""
        read_ratios(self.ratios, self.name)
        if self.dry:
            return frozenset()
        if self.ratio is not None and self._left:
            raise error("P004", "a `ratio` and a budget are both given", place=self, help="leave one of them out")
        if self.ratio in (0.0, 1.0):
            message = f"`ratio={self.ratio:g}` would remove {'nothing' if self.ratio == 0 else 'everything'}"
            raise error("P004", message, place=self, help="it is the share of channels that is removed, as 0.5")
        if self.ratio is None and not self._left and not self.ratios:
            help_text = f"--budget macs=0.5, or prune-channels<macs=0.5>; known: {', '.join(self.budgets)}, ratio"
            raise error("P006", "`prune-channels` needs a budget", help=help_text)
        criterion = CRITERIA.get(self.criterion)
        needs_data = self.recover != "none" or criterion is None or criterion.needs_data
        return frozenset({Need.DATA}) if needs_data else frozenset()

    def preview(self) -> Pass:
        """The same pass, changing nothing."""
        return replace(self, dry=True)

    def run(self, model: Model, context: Context) -> PassResult:
        """Prune `model` and say what was cut and what was not."""
        result = PassResult()
        for step in range(1 if self.dry else self.steps):
            if not self._cut(model, context, (step + 1) / self.steps, result):
                break
        if result.changed:
            context.judge_from(model)
        return result

    @property
    def _left(self) -> dict[str, float]:
        given = {name: getattr(self, name) for name in self.budgets}
        return {name: left for name, left in given.items() if left is not None}

    def _cut(self, model: Model, context: Context, done: float, result: PassResult) -> bool:
        """One step: the share `done` of the way to the goal. Whether there is anything to cut."""
        analysis = analyze(model, self._options)
        survey = self._survey(model, context, analysis, result)
        result.remarks += [self._stays(group.name, group.size, why) for group, why in survey.kept]
        if not survey.candidates:
            self._nothing(survey, result)
            return False
        batches = self._batches(context)
        choice = self._choice(model, context, analysis, survey, done, batches)
        if self.dry:
            self._preview(choice, result)
            return False
        verdict = context.decisions.decide(f"{self} removals", choice.removals)
        for name, why in verdict["refused"].items():
            result.remarks.append(self._stays(name, analysis.group(name).size, why))
        if not verdict["removed"]:
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", "the budget is met without a cut"))
            return False
        self._apply(model, context, choice, verdict, batches, result)
        return True

    def _survey(self, model: Model, context: Context, analysis: AxisAnalysis, result: PassResult) -> Survey:
        """The groups, rounded as the target likes it; finer where a budget cannot be kept otherwise."""
        missed: dict[int, str] = {}
        for round_to in multiples(self.round_to, context.target.channel_multiple):
            limits = Limits(self.include, self.exclude, round_to, self.min_channels)
            survey = survey_groups(model.graph, analysis, limits, self.name)
            beyond = budget_beyond(self._left, model, context.reference, analysis, survey)
            if not beyond:
                break
            missed[round_to] = beyond
        if missed and not beyond:
            liked, budget = next(iter(missed.items()))
            text = "layers keep multiples of {}: with {}, which {} likes, the {} do not fit the budget"
            reason = Reason(text, round_to, liked, context.target.name, WORDS[budget])
            result.remarks.append(Remark(RemarkKind.ANALYSIS, self.name, "", reason))
        return survey

    def _choice(
        self,
        model: Model,
        context: Context,
        analysis: AxisAnalysis,
        survey: Survey,
        done: float,
        batches: Sequence[Feeds],
    ) -> Choice:
        shares = ratios_of(survey.candidates, model.graph.nodes, self.ratios, self.name)
        goal = Goal(
            {name: 1 - (1 - left) * done for name, left in self._left.items()},
            None if self.ratio is None else self._step_of(self.ratio),
            {name: self._step_of(share) for name, share in shares.items()},
        )
        return Choice(
            model,
            context.reference,
            analysis,
            survey,
            self._ranker(model, context, analysis, batches),
            goal,
            lambda: first_feeds(context.data, model),
            context.progress,
        )

    def _ranker(self, model: Model, context: Context, analysis: AxisAnalysis, batches: Sequence[Feeds]) -> Ranker:
        metric = context.data.metric() if context.data is not None else None
        distance = metric.distance if metric is not None else None
        measure = self.measure and self._allocates
        return Ranker(model, analysis, self.criterion, batches, measure, context.seed, distance)

    def _step_of(self, share: float) -> float:
        """What one step removes of what there is, if all steps together remove `share`."""
        return float(1 - (1 - share) ** (1 / self.steps))

    @property
    def _options(self) -> Options:
        return Options(split=self.split)

    @property
    def _allocates(self) -> bool:
        """Whether errors of groups are compared at all."""
        return bool(self._left) or self.dry

    def _batches(self, context: Context) -> Sequence[Feeds]:
        """The samples, where something rests on them; none without data."""
        criterion = CRITERIA.get(self.criterion)
        used = self.recover != "none" or criterion is None or criterion.needs_data or (self.measure and self._allocates)
        if not used or context.data is None:
            return ()
        return training_feeds(context.data, self.samples)

    def _apply(
        self,
        model: Model,
        context: Context,
        choice: Choice,
        verdict: Mapping[str, Any],
        batches: Sequence[Feeds],
        result: PassResult,
    ) -> None:
        analysis, removals = choice.analysis, verdict["removed"]
        if self.recover == "none":
            removed = {name: np.array(units) for name, units in removals.items()}
            pruned = cut(model, analysis, removed)
        else:
            options, progress = self._options, context.progress
            worth = {name: np.array(units) for name, units in verdict["worth"].items()}
            pruned, removed = cut_with_least_squares(model, analysis, removals, batches, worth, options, progress)
        context.manifest.append(manifest(model, analysis, removed))
        for candidate in choice.survey.candidates:
            gone = len(removed.get(candidate.name, ()))
            if gone:
                size, channels = candidate.group.size, candidate.channels
                values = candidate.name, (size - gone) * channels, size * channels
                text = "{}: {} of {} channels stay"
                result.remarks.append(self.remark(RemarkKind.PASSED, _place(candidate), text, *values))
                result.count("channels removed", gone * channels)
        model.replace_with(pruned)
        result.remarks += self._left_over(choice, model)

    def _left_over(self, choice: Choice, model: Model) -> Iterator[Remark]:
        """What is left of the original, by budget; one that is missed is a warning."""
        for name, allowed in choice.goal.left.items():
            if name == LATENCY:
                continue
            left = share_left(name, model, choice.reference)
            missed = left > allowed * (1 + _NOTICEABLE)
            kind = RemarkKind.MISSED if missed else RemarkKind.ANALYSIS
            reason = Reason("{:.4f} of the {} are left; {:g} are allowed", left, WORDS[name], allowed)
            yield Remark(kind, self.name, "", reason, warns=missed)

    def _stays(self, group: str, size: int, why: Reason | str) -> Remark:
        return Remark(RemarkKind.MISSED, self.name, "", Reason("{} stays: {}", group, why), stake=size)

    def _nothing(self, survey: Survey, result: PassResult) -> None:
        """Say why there is nothing to cut; what the user asked for is not done."""
        why = next((str(why) for _, why in survey.kept), NO_GROUPS)
        reason = Reason("nothing can be cut: {}", why)
        result.remarks.append(Remark(RemarkKind.MISSED, self.name, "", reason, warns=not self.dry))

    def _preview(self, choice: Choice, result: PassResult) -> None:
        removed = choice.removals()["removed"] if self._left or self.ratio is not None or self.ratios else None
        for line in group_lines(choice.survey, choice.rankings, removed):
            result.remarks.append(Remark(RemarkKind.ANALYSIS, self.name, "", line))


def _place(candidate: Candidate) -> str:
    """The first layer that writes a group."""
    return node_name(candidate.nodes[0]) if candidate.nodes else ""
