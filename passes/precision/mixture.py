"""Models in which each group of nodes has a precision of its own, and what that costs."""

from __future__ import annotations

import glob
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.calibration import Statistics
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.precision.budget import Way
from pruna_ir.passes.precision.convert_fp16 import ConvertFp16
from pruna_ir.passes.precision.groups import FLOAT32, INT8, Group
from pruna_ir.passes.quantization.quantize import Quantize
from pruna_ir.runtime.latency import compare, thread_clock
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind

if TYPE_CHECKING:
    import numpy as np

    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Seconds of timing one model against another.
_SECONDS = 0.4


@dataclass
class Mixture:
    """Makes `model` with any assignment of precisions to groups, and measures what that does.

    `half` converts the nodes that get 16 bits; `statistics` hold for `model`. Noise is measured against `model`,
    time and bytes are fractions of those of `context.reference`, the model as the user gave it.
    """

    model: Model
    groups: Sequence[Group]
    half: ConvertFp16
    quantize: Quantize
    statistics: Statistics
    context: Context

    def build(self, assignment: Sequence[str]) -> Model:
        """A copy of the model with a precision for each group."""
        candidate = self.model.clone()
        self.apply(candidate, assignment)
        return candidate

    def apply(self, model: Model, assignment: Sequence[str]) -> dict[str, int]:
        """Give the groups of `model`, which is the model or a copy, their precisions; what passes counted."""
        nodes = list(model.graph.nodes)
        precision = {
            index: given for group, given in zip(self.groups, assignment, strict=True) for index in group.nodes
        }
        halves = {id(nodes[index]) for index, given in precision.items() if given == self.half.dtype}
        context = replace(self.context, statistics=self.statistics, decisions=DecisionLog())
        counts: dict[str, int] = {}
        if INT8 in assignment:
            floats = [node for index, node in enumerate(nodes) if precision.get(index) != INT8]
            exclude = tuple(dict.fromkeys(glob.escape(node_name(node)) for node in floats))
            counts |= replace(self.quantize, exclude=exclude, guard=False).run(model, context).counts
        if halves:
            kept = {id(node) for node in model.graph.nodes} - halves
            counts |= self.half.convert(model, context, kept, self.statistics).counts
        return counts

    def ways(self, index: int) -> list[Way]:
        """What each precision of a group costs, alone: float32, and those that the runtime takes.

        A group without weights has nothing to choose: it runs in integers where what is around it does.
        """
        group = self.groups[index]
        possible = [FLOAT32, self.half.dtype, *([INT8] if group.quantizable else [])]
        if group.forced is not None:
            return [Way(group.forced if group.forced in possible else FLOAT32)]
        if group.quantizable and not group.weighted:
            return [Way(INT8)]
        found = [self._way(index, precision) for precision in possible]
        return [way for way in found if math.isfinite(way.noise)]

    def _way(self, index: int, precision: str) -> Way:
        if precision == FLOAT32:
            return Way(FLOAT32)
        candidate = self.build([precision if i == index else FLOAT32 for i in range(len(self.groups))])
        try:
            noise = 10 ** (-self._near.compare(candidate)[0] / 10)
            time = self.time(candidate) - self.base_time if self._computes_in(precision) else 0.0
        except PrunaError as failure:
            if failure.diagnostic.code != "M009":  # the runtime refuses the model: its fusions have bugs of their own
                raise
            return Way(precision, noise=math.inf)
        return Way(precision, noise, time, self.bytes(candidate) - self.bytes(self.model))

    def _computes_in(self, precision: str) -> bool:
        """Whether the target computes in this precision at all; else only weights are stored in it."""
        return precision == INT8 or self.context.target.half_ops.get(precision) != frozenset()

    @property
    def measures_time(self) -> bool:
        """Whether the target's speed can be measured here."""
        return host_kind() in self.context.target.runs_on

    def time(self, model: Model) -> float:
        """The time of a model over the reference's, in one thread; 1 where it cannot be measured."""
        if not self.measures_time:
            return 1.0
        timed = compare(self._base, Session(model), self._feeds, seconds=_SECONDS, clock=thread_clock())
        return self.base_time / timed.speedup

    def bytes(self, model: Model) -> float:
        """The bytes of a model over the reference's."""
        return int(model.to_proto().ByteSize()) / self._reference_bytes

    def drop(self, model: Model) -> float:
        """The relative loss of score against the reference; infinite if the runtime refuses the model."""
        try:
            return self._far.drop(model)
        except PrunaError as failure:
            if failure.diagnostic.code != "M009":
                raise
            return math.inf

    def acceptable(self, drop: float, limit: float) -> bool:
        """Whether a loss is allowed."""
        return self._far.acceptable(drop, limit)

    @cached_property
    def base_time(self) -> float:
        """The time of the model itself over the reference's."""
        if not self.measures_time:
            return 1.0
        reference = Session(self.context.reference)
        return 1 / compare(reference, self._base, self._feeds, seconds=_SECONDS, clock=thread_clock()).speedup

    @cached_property
    def _base(self) -> Session:
        return Session(self.model)

    @cached_property
    def _near(self) -> Evaluator:
        return Evaluator(self._data, self.model)

    @cached_property
    def _far(self) -> Evaluator:
        return Evaluator(self._data, self.context.reference)

    @cached_property
    def _reference_bytes(self) -> int:
        return int(self.context.reference.to_proto().ByteSize())

    @cached_property
    def _feeds(self) -> dict[str, np.ndarray]:
        return next(iter(self._data.require("calibration").head(1).batches(1))).feeds

    @property
    def _data(self) -> BoundDataset:
        return self.context.require_data("mixed-precision")
