"""The convert-fp16 pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pruna_ir.calibration import Statistics, collect, fingerprints
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.precision.half_candidates import candidates, refuse_ranges, storable
from pruna_ir.passes.precision.half_conversion import HalfPlan, convert
from pruna_ir.passes.precision.half_types import HALVES
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class ConvertFp16(Pass):
    """Compute in 16-bit floats, with explicit Casts where a node stays in float32.

    Before:  x -> Conv(w, b) -> y
    After:   x -> Cast(float16) -> Conv(w16, b16) -> Cast(float32) -> y

    Where the target has no 16-bit kernels (`kernels=any` asks for them all the same) and computes constants at load,
    weights alone are stored in 16 bits, as Conv(x, Cast(w16)). Nodes stay in float32 that ONNX does not define in 16
    bits, that have sub-graphs or are quantized, of which a constant is too large or too small for the type, and, with
    data, that read or write values which are. Inputs and outputs of the model
    stay float32.
    """

    name: ClassVar[str] = "convert-fp16"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    after: ClassVar[tuple[str, ...]] = ("quantize",)

    dtype: Literal["float16", "bfloat16"] = option("float16", "the 16-bit type")
    keep: tuple[str, ...] = option((), "nodes that stay in float32: globs over names, or op:TYPE")
    kernels: Literal["target", "any"] = option("target", "compute in halves what the target does, or all that ONNX can")
    room: float = option(2.0, "factor that must lie between a tensor's largest value and the type's", low=1.0)
    samples: int = option(512, "calibration samples to use at most", low=1)

    def run(self, model: Model, context: Context) -> PassResult:
        """Convert `model`."""
        check_patterns(model.graph.nodes, self.keep, self.name)
        return self.convert(model, context, {id(node) for node in select(model.graph.nodes, self.keep)})

    def convert(
        self, model: Model, context: Context, kept: Collection[int], statistics: Statistics | None = None
    ) -> PassResult:
        """Convert all of `model` but the nodes in `kept`, given by identity.

        `statistics` are of the tensors by name, where they are known already.
        """
        half, graph, result = HALVES[self.dtype], model.graph, PassResult()
        kernels = None if self.kernels == "any" else context.target.half_ops.get(self.dtype)
        found = candidates(graph, half, kernels, kept)
        if found.places and statistics is None:
            statistics = self._statistics(model, context)
        if statistics is not None:
            refuse_ranges(graph, found, half, statistics, self.room)
        stored = storable(graph, half, kept) if context.target.stores_weights else {}
        plan = HalfPlan(half, found.places, found.followers, stored)
        constants = convert(graph, plan)
        if found.places:
            result.count(f"nodes in {half.onnx_name}", len(found.places))
        if constants:
            result.count(f"constants in {half.onnx_name}", constants)
        for node, reason in found.refused:
            result.remarks.append(self.remark(RemarkKind.MISSED, node_name(node), "stays in float32: {}", reason))
        if found.kernelless:
            text = "{} has no {} kernels for {} of the nodes: they compute in float32"
            values = context.target.name, half.onnx_name, len(found.kernelless)
            result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", text, *values))
        return result

    def _statistics(self, model: Model, context: Context) -> Statistics | None:
        """What is known of the values of tensors; None without data."""
        if context.statistics is not None:
            return context.statistics.for_model(fingerprints(model.to_proto()))
        if context.data is None:
            return None
        calibration = context.data.require("calibration").head(self.samples)
        return collect(
            model,
            (batch.feeds for batch in calibration.batches(1)),
            progress=lambda done: context.progress("calibrating", done, calibration.size or 0),
        )
