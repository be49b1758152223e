"""The tune-ranges pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.mse import Function, expected_error
from pruna_ir.calibration.record import Record
from pruna_ir.passes.quantization.behind import function_behind
from pruna_ir.passes.quantization.tuning.knobs import Knob, find_knobs, turn
from pruna_ir.passes.quantization.tuning.simulation import Feeds, Simulation
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.calibration.scheme import QuantParams
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Samples that run together.
_BATCH = 8
# What one turn multiplies an end of a range by, or divides it by.
_TURN = 1.2
# A turn must win this much, in dB, on the samples that are searched on: less is noise.
_NOTICEABLE = 0.01


@dataclass(frozen=True)
class TuneRanges(Pass):
    """Move the ends of activation ranges while that brings the model's outputs closer to the float model's.

    Before:  x -> Q(s) -> DQ(s) -> Conv -> y
    After:   x -> Q(s') -> DQ(s') -> Conv -> y

    A range that is best for its own tensor need not be for the outputs: some channels and some values matter more.
    Coordinate descent, the tensors with most error first, on half of the samples; what does not help on the other half
    as well is taken back. Scales that must be equal move together, ranges stay within what calibration has seen. The
    search runs a simulation, and ends after `tries` runs of it, or when nothing more is won. The same idea as learned
    step sizes (Esser et al., LSQ, 2020) without gradients.
    """

    name: ClassVar[str] = "tune-ranges"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    after: ClassVar[tuple[str, ...]] = ("quantize",)
    before: ClassVar[tuple[str, ...]] = ("store-weights",)

    samples: int = option(32, "calibration samples to search and check on", low=2)
    tries: int = option(200, "runs of the search at most, each over half of the samples", low=1)
    patience: int = option(20, "ranges in a row that may bring nothing before the search ends", low=1)
    rounds: int = option(1, "times that every range is visited at most", low=1)

    def run(self, model: Model, context: Context) -> PassResult:
        """Tune the ranges of `model`."""
        result = PassResult()
        records: Mapping[str, Record] = context.collected or context.statistics or {}
        knobs = find_knobs(model.graph, context.target, records)
        if not knobs:
            result.remarks.append(
                self.remark(RemarkKind.ANALYSIS, "", "no activation is quantized with a constant scale")
            )
            return result
        halves = self._halves(context)
        if not all(halves):
            reason = "one half of the samples checks the other: there must be two at least"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", reason))
            return result
        threads = few_threads()
        search = _Search(Simulation(model, knobs, Session(context.reference, threads=threads), threads), halves)
        order = worst_first(knobs, records, _functions(context))
        chosen = self._search(search, order, context)
        if chosen:
            self._keep_if_better(model, knobs, chosen, search, context, result)
        return result

    def _halves(self, context: Context) -> tuple[list[Feeds], list[Feeds]]:
        """Batches to search on and batches to check on, in turn."""
        split = context.require_data(self.name).require("calibration").head(self.samples)
        size = min(_BATCH, max(1, (split.size or self.samples) // 2))
        batches: list[Feeds] = [batch.feeds for batch in split.batches(size)]
        return batches[::2], batches[1::2]

    def _search(self, search: _Search, order: list[int], context: Context) -> dict[int, QuantParams]:
        idle = 0
        for index in order * self.rounds:
            if search.runs >= self.tries or idle >= min(self.patience, len(order)):
                break
            idle = 0 if search.visit(index) else idle + 1
            context.progress("tuning ranges", search.runs, self.tries)
        return search.chosen

    def _keep_if_better(
        self,
        model: Model,
        knobs: list[Knob],
        chosen: Mapping[int, QuantParams],
        search: _Search,
        context: Context,
        result: PassResult,
    ) -> None:
        """Write the ranges, unless the runtime's integers disagree with the simulation about what they are worth."""
        evaluator = Evaluator(context.require_data(self.name), context.reference)
        before, kept = evaluator.compare(model)[0], model.clone()
        turn(model.graph, [(knobs[index], params) for index, params in chosen.items()])
        after = evaluator.compare(model)[0]
        if after <= before:
            model.replace_with(kept)
            taken_back = self.remark(RemarkKind.MISSED, "", "taken back: SQNR {:.2f} -> {:.2f} dB", before, after)
            result.remarks.append(taken_back)
            return
        result.count("ranges tuned", len(chosen))
        text = "SQNR of the outputs {:.2f} -> {:.2f} dB; {} of {} ranges moved in {} runs"
        values = (before, after, len(chosen), len(knobs), search.runs)
        result.remarks.append(self.remark(RemarkKind.PASSED, "", text, *values))


@dataclass
class _Search:
    """Coordinate descent over knobs; `chosen` are the parameters that were found better, by number of the knob."""

    simulation: Simulation
    halves: tuple[list[Feeds], list[Feeds]]
    chosen: dict[int, QuantParams] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._searched, self._held_out = (self.simulation.expect(half) for half in self.halves)
        self._best = self.simulation.sqnr(self._searched, self.chosen)
        self._checked = self.simulation.sqnr(self._held_out, self.chosen)

    @property
    def runs(self) -> int:
        """How often the simulation ran."""
        return self.simulation.runs

    def visit(self, index: int) -> bool:
        """Turn a knob while that helps; whether it ended elsewhere, and the other half of the samples agrees."""
        before, start = dict(self.chosen), self._best
        symmetric = self.simulation.knobs[index].scheme.symmetric
        for end in (1,) if symmetric else (1, 0):
            for factor in (1 / _TURN, _TURN):
                if self._walk(index, end, factor):
                    break
        if self.chosen.get(index) is before.get(index):
            return False
        checked = self.simulation.sqnr(self._held_out, self.chosen)
        if checked <= self._checked:
            self.chosen, self._best = before, start
            return False
        self._checked = checked
        return True

    def _walk(self, index: int, end: int, factor: float) -> bool:
        """Move one end of the range step by step while every step helps; whether the first one did."""
        moved = False
        for params in self._steps(index, end, factor):
            sqnr = self.simulation.sqnr(self._searched, {**self.chosen, index: params})
            if sqnr < self._best + _NOTICEABLE:
                break
            self._best, moved = sqnr, True
            self.chosen[index] = params
        return moved

    def _steps(self, index: int, end: int, factor: float) -> Iterator[QuantParams]:
        knob = self.simulation.knobs[index]
        while True:
            params = self.chosen.get(index, knob.params)
            found = knob.scheme.range(params)
            ends = [float(found.minimum), float(found.maximum)]
            ends[end] *= factor
            if knob.scheme.symmetric:
                ends = [-abs(ends[end]), abs(ends[end])]
            following = knob.turned(*ends)
            if following is None or (following.scale == params.scale and following.zero_point == params.zero_point):
                return
            yield following


def worst_first(knobs: list[Knob], records: Mapping[str, Record], functions: Mapping[str, Function]) -> list[int]:
    """The numbers of the knobs, those whose tensors lose most of their energy first; unknown ones as they stand.

    What is lost is counted behind the functions of the tensors that have one.
    """
    noise = [
        max((_noise(knob, records[name], functions.get(name)) for name in knob.tensors if name in records), default=0.0)
        for knob in knobs
    ]
    return sorted(range(len(knobs)), key=lambda index: -noise[index])


def _noise(knob: Knob, record: Record, behind: Function | None) -> float:
    """The share of a tensor's energy that the knob's range loses."""
    low, high = (np.array([end]) for end in knob.range)
    distribution = Distribution.of(record)
    middle = (distribution.low + distribution.high) / 2
    seen = middle if behind is None else behind(middle)
    energy = float(np.square(seen) @ distribution.weight) / max(distribution.total, 1.0)
    return float(expected_error(distribution, knob.scheme, low, high, behind)[0]) / max(energy, 1e-30)


def _functions(context: Context) -> dict[str, Function]:
    """The functions behind the float model's tensors, by name."""
    if context.quantization is None:
        return {}
    graph = context.quantization.reference.graph
    outputs = {id(tensor) for tensor in graph.outputs}
    found = {name: function_behind(tensor, outputs) for name, tensor in graph.tensors().items()}
    return {name: function for name, function in found.items() if function is not None}
