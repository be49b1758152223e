"""The mixed-precision pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pruna_ir.calibration import Statistics, collect, fingerprints
from pruna_ir.passes.precision.convert_fp16 import ConvertFp16
from pruna_ir.passes.precision.groups import FLOAT32, INT8, Group, forced_precisions, make_groups
from pruna_ir.passes.precision.mixture import Mixture
from pruna_ir.passes.precision.search import Budget, Search
from pruna_ir.passes.quantization.quantize import Quantize
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, PassResult
from pruna_ir.remarks import Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class MixedPrecision(Pass):
    """Choose int8, 16 bits or float32 for each group of nodes, from measured errors and costs, under a budget.

    Before:  x -> backbone -> head -> y
    After:   x -> backbone in int8 -> head in float16 -> y

    A group is a region of connected integer kernels of one spatial size, or a single kernel; all other nodes are one
    more. Each group's error at the outputs, time and bytes are measured alone, and a mixed-integer program chooses:
    with a budget for `latency` or `bytes` the least error within it, else the fastest (the smallest, where size is the
    goal) that keeps the score. The result is measured as a whole; where that shows the sum to be too hopeful, the
    choice is repeated with less. A budget that cannot be met gives the best found, and a warning.
    """

    name: ClassVar[str] = "mixed-precision"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    before: ClassVar[tuple[str, ...]] = ("store-weights",)

    max_drop: float | None = option(None, "relative loss of score that is allowed; none: the run's", low=0.0)
    latency: float | None = option(None, "fraction of the original's time that may be left", low=0.0, high=1.0)
    bytes: float | None = option(None, "fraction of the original's bytes that may be left", low=0.0, high=1.0)
    keep_float: tuple[str, ...] = option((), "nodes in float32: globs, op:TYPE, or N for the last N with weights")
    half: tuple[str, ...] = option((), "nodes in 16 bits, likewise")
    int8: tuple[str, ...] = option((), "nodes in int8, likewise")
    exclude: tuple[str, ...] = option((), "the same as keep-float")
    dtype: Literal["float16", "bfloat16"] = option("float16", "the 16-bit type")
    groups: Literal["region", "kernel"] = option("region", "what gets one precision together")
    ranges: str = option("", "how ranges of integers are chosen, as for quantize; empty: its default")
    samples: int = option(512, "calibration samples to use at most", low=1)

    def run(self, model: Model, context: Context) -> PassResult:
        """Give every group of `model` its precision."""
        result = PassResult()
        chosen = [(FLOAT32, (*self.keep_float, *self.exclude)), (self.dtype, self.half), (INT8, self.int8)]
        forced = forced_precisions(model.graph, context.target, chosen, self.name)
        groups = make_groups(model.graph, context.target, forced, self.groups == "kernel")
        self._explain_forced(groups, result)
        mixture = Mixture(
            model=model.clone(),
            groups=groups,
            half=ConvertFp16(dtype=self.dtype),
            quantize=Quantize(ranges=self.ranges) if self.ranges else Quantize(),
            statistics=self._statistics(model, context),
            context=context,
        )
        max_drop = context.max_drop if self.max_drop is None else self.max_drop
        search = Search(mixture, Budget(max_drop, self.latency, self.bytes, context.goal))
        verdict = context.decisions.decide(f"{self} precisions", lambda: asdict(search.choose()))
        self._apply(model, mixture, verdict["precisions"], context, result)
        for text in verdict["missed"]:
            result.remarks.append(Remark(RemarkKind.MISSED, self.name, "", text, warns=True))
        return result

    def _apply(
        self, model: Model, mixture: Mixture, precisions: Sequence[str], context: Context, result: PassResult
    ) -> None:
        if INT8 in precisions:
            context.before_rounding(model)
        for what, times in mixture.apply(model, precisions).items():
            result.count(what, times)
        for group, precision in zip(mixture.groups, precisions, strict=True):
            where = " where what is around them is" if precision == INT8 and not group.weighted else ""
            values = group.name, len(group.nodes), precision, where
            result.remarks.append(self.remark(RemarkKind.PASSED, "", "{}: {} nodes in {}{}", *values))

    def _explain_forced(self, groups: Sequence[Group], result: PassResult) -> None:
        """Say where int8 was asked for and cannot be."""
        refused = Counter(group.name for group in groups if group.forced == INT8 and not group.quantizable)
        for name in refused:
            text = "{}: the target has no integer kernels for it"
            result.remarks.append(self.remark(RemarkKind.MISSED, "", text, name))

    def _statistics(self, model: Model, context: Context) -> Statistics:
        """Of every float tensor: integers and halves both need to know what values there are."""
        if context.statistics is not None:
            return context.statistics.for_model(fingerprints(model.to_proto()))
        calibration = context.require_data(self.name).require("calibration").head(self.samples)
        statistics = collect(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            progress=lambda done: context.progress("calibrating", done, calibration.size or 0),
        )
        context.collected = statistics
        return statistics
