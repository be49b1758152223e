"""What the passes have in common that scale channels: find links, balance them, and keep what helps in integers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration import Statistics, collect
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.equalization.balance import Spread, ratio, solve
from pruna_ir.passes.quantization.equalization.links import UNSCALED, Link
from pruna_ir.passes.quantization.equalization.trace import trace
from pruna_ir.passes.quantization.kernel import row_of
from pruna_ir.passes.quantization.quantize import Quantize
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import op_key
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import Reason, RemarkKind
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

# A candidate is kept if it brings the quantized model this much closer to the float one, in dB.
NOTICEABLE_DB = 0.25
NOTHING = "nothing"


@dataclass(frozen=True)
class Candidate:
    """A choice of scales: the share `alpha` of differences to take away in each kind of link; None: leave the kind.

    `depthwise` links are read by weights that read one channel each, whose own scales make up for any difference.
    """

    name: str
    depthwise: float | None
    dense: float | None

    def alpha(self, link: Link) -> float | None:
        """The share for a link."""
        return self.depthwise if link.depthwise else self.dense


@dataclass(frozen=True)
class ChannelScaling(Pass):
    """Base of the passes that divide channels where they are written and multiply the weights that read them."""

    effect: ClassVar[Effect] = Effect.EXACT
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    before: ClassVar[tuple[str, ...]] = ("round-weights", "quantize", "store-weights")
    # The operators that the links start at.
    starts: ClassVar[tuple[str, ...]]

    exclude: tuple[str, ...] = option((), "nodes whose outputs keep their scales: globs over names, or op:TYPE")
    samples: int = option(64, "calibration samples to use at most", low=1)
    guard: bool = option(True, "quantize on trial, and scale only what brings the outputs closer to the float model's")

    @abstractmethod
    def candidates(self, target: Target) -> list[Candidate]:
        """The choices to compare, the one to take without a guard first."""

    def prepare(self, link: Link) -> Reason | None:
        """Why a link cannot be scaled, or None; what must be done about it first is done."""
        return link.barriers[0].reason if link.held.all() else None

    def goes_by_weights(self) -> bool:
        """Whether the weights that write channels are what is balanced, and not their values."""
        return False

    def run(self, model: Model, context: Context) -> PassResult:
        """Scale channels of `model`."""
        result = PassResult()
        check_patterns(model.graph.nodes, self.exclude, self.name)
        links = self._links(model, result)
        if not links:
            return result
        largest = {} if self.goes_by_weights() else self._largest(model, links, context)
        trials: dict[str, tuple[Model, list[tuple[Link, np.ndarray]]]] = {}
        candidates = self.candidates(context.target)
        for candidate in candidates if self.guard else candidates[:1]:
            changed = self._scaled(model, candidate, largest)
            if changed[1]:
                trials[candidate.name] = changed
        chosen = self._choose(model, {name: trial for name, (trial, _) in trials.items()}, context, result)
        if chosen != NOTHING:
            changed_model, scaled = trials[chosen]
            model.replace_with(changed_model)
            result.count("links scaled", len(scaled))
            for link, scales in scaled:
                text = "channels of `{}` are scaled, by factors that differ up to {:.3g} times"
                result.remarks.append(
                    self.remark(RemarkKind.PASSED, node_name(link.node), text, link.tensor.name, ratio(scales))
                )
        return result

    def _links(self, model: Model, result: PassResult | None = None) -> list[Link]:
        excluded = {id(node) for node in select(model.graph.nodes, self.exclude)}
        rewriter = Rewriter(model.graph)
        links: list[Link] = []
        for node in model.graph.nodes:
            if op_key(node) not in self.starts or id(node) in excluded:
                continue
            found = trace(node, rewriter)
            reason = self.prepare(found) or _overlap(found, links) if isinstance(found, Link) else found
            if isinstance(found, Link) and reason is None:
                links.append(found)
            elif result is not None and isinstance(reason, Reason):
                result.remarks.append(self.remark(RemarkKind.MISSED, node_name(node), "{}", reason))
        return links

    def _largest(self, model: Model, links: Sequence[Link], context: Context) -> dict[str, np.ndarray]:
        """The largest magnitude that each channel of each link takes where it is quantized, by the link's tensor."""
        axes = {name: axis for link in links for name, axis, _ in _measured(link, context.target)}
        statistics = self._collect(model, axes, context)
        found = {}
        for link in links:
            largest = np.zeros(link.channels)
            for name, _, labels in _measured(link, context.target):
                channels = statistics[name].channels
                assert channels is not None
                seen = channels.maximum >= channels.minimum
                magnitude = np.where(seen, np.maximum(-channels.minimum, channels.maximum), 0.0)
                scaled = labels != UNSCALED
                np.maximum.at(largest, labels[scaled], magnitude[scaled])
            found[link.tensor.name] = largest
        return found

    def _collect(self, model: Model, axes: Mapping[str, int], context: Context) -> Statistics:
        calibration = context.require_data(self.name).require("calibration").head(self.samples)
        return collect(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            list(axes),
            per_channel=axes,
            threads=few_threads(),
            progress=lambda done: context.progress("measuring channels", done, calibration.size or 0),
        )

    def _scaled(
        self, model: Model, candidate: Candidate, largest: Mapping[str, np.ndarray]
    ) -> tuple[Model, list[tuple[Link, np.ndarray]]]:
        """A copy of the model with the scales of a candidate, and the links that they are for."""
        trial = model.clone()
        spreads = [
            Spread(link, largest.get(link.tensor.name), alpha)
            for link in self._links(trial)
            if (alpha := candidate.alpha(link)) is not None
        ]
        rewriter = Rewriter(trial.graph)
        solved = zip((spread.link for spread in spreads), solve(spreads), strict=True)
        scaled = [(link, scales) for link, scales in solved if scales is not None and link.fits(scales)]
        for link, scales in scaled:
            link.apply(scales, rewriter)
        rewriter.commit()
        return trial, scaled

    def _choose(self, model: Model, trials: Mapping[str, Model], context: Context, result: PassResult) -> str:
        """The name of the candidate that the quantized model comes closest to the float one with, or NOTHING."""
        if not trials or not self.guard:
            return next(iter(trials), NOTHING)

        def best() -> str:
            evaluator = Evaluator(context.require_data(self.name), context.reference)
            quality: dict[str, float] = {}
            for name, trial in {NOTHING: model, **trials}.items():
                context.progress("quantizing on trial", len(quality), len(trials) + 1)
                quality[name] = quality_on_trial(trial, self.samples, evaluator, context)
                text = "quantized on trial with {} scaled: SQNR {:.1f} dB"
                result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", text, name, quality[name]))
            quality[NOTHING] += NOTICEABLE_DB
            return max(quality, key=lambda name: quality[name])

        chosen = str(context.decisions.decide(str(self), best))
        if chosen == NOTHING:
            reason = "the quantized model comes no closer to the float one with it"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", reason))
        return chosen


def quality_on_trial(model: Model, samples: int, evaluator: Evaluator, context: Context) -> float:
    """SQNR in dB of `model` quantized throughout, against the reference; minus infinity if the runtime refuses it."""
    trial = model.clone()
    own = replace(context, statistics=None, collected=None, decisions=DecisionLog())
    Quantize(guard=False, samples=samples).run(trial, own)
    try:
        return evaluator.compare(trial)[0]
    except PrunaError as failure:
        if failure.diagnostic.code != "M009":
            raise
        return -math.inf


def _overlap(link: Link, others: Sequence[Link]) -> Reason | None:
    """Why a link cannot be balanced by itself: a product of its channels with those of another one is on its way."""
    mine = {id(tensor): labels for tensor, labels in link.carriers}
    for other in others:
        for tensor, theirs in other.carriers:
            labels = mine.get(id(tensor))
            if labels is not None and ((labels != UNSCALED) & (theirs != UNSCALED)).any():
                names = (tensor.name, other.tensor.name, link.tensor.name)
                return Reason("`{}` has channels of both `{}` and `{}`", *names)
    return None


def _measured(link: Link, target: Target) -> list[tuple[str, int, np.ndarray]]:
    """The tensors whose values show how large the channels are: names, axes of the channels, and labels along them.

    That is the first one, those that constants are added in, and those that weights read; not what an activation
    function within the same kernel reads.
    """
    shown = {id(link.tensor), *(id(reader.data) for reader in link.readers)}
    shown |= {id(output) for parameter in link.parameters for output in parameter.node.outputs}
    found = []
    for tensor, labels in link.carriers:
        axes = [axis for axis, size in enumerate(labels.shape) if size > 1]
        if id(tensor) in shown and len(axes) == 1 and not _absorbed(tensor, target):
            found.append((tensor.name, axes[0], labels.reshape(-1)))
    return found


def _absorbed(tensor: gs.Tensor, target: Target) -> bool:
    """Whether a tensor is never quantized: its activation function is part of the kernel that writes it."""
    row = row_of(tensor.inputs[0], target) if tensor.inputs else None
    return row is not None and len(tensor.outputs) == 1 and tensor.outputs[0].op in row.absorbs
