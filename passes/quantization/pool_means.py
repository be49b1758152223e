"""ReduceMean over an image -> GlobalAveragePool, where only that has an integer kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.quantization.answers import is_answer
from pruna_ir.passes.recognition.normalization import reduced_axes
from pruna_ir.passes.recognition.recognition import unsuitable
from pruna_ir.pipeline.pass_base import PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

_MEAN, _POOL = "ReduceMean", "GlobalAveragePool"
_CHANNELS_AXIS, _IMAGE_RANK = 1, 4


@dataclass(frozen=True)
class PoolMeans(Rule):
    """Write means over an image as the pool that the target has an integer kernel for.

        before   ReduceMean<keepdims=1>(x[n,c,h,w], [2,3])     ReduceMean<keepdims=0>(x[n,c,h,w], [2,3])
        after    GlobalAveragePool(x)                          Flatten(GlobalAveragePool(x))

    Does not fire if the mean is over other axes than all behind the channels, if x has no two of them, holds no float32
    or is empty, if the mean is the model's answer, which integers would round; nor where the target has a row for
    ReduceMean, or none for GlobalAveragePool.
    """

    name: ClassVar[str] = "pool-means"
    roots: ClassVar[tuple[str, ...]] = (_MEAN,)
    before: ClassVar[tuple[str, ...]] = ("quantize",)
    requires: ClassVar[frozenset[str]] = frozenset({_MEAN})

    def run(self, model: Model, context: Context) -> PassResult:
        """Run the rule if the target gains by it."""
        rows = context.target.ops
        if _POOL in rows and _MEAN not in rows:
            return super().run(model, context)
        result = PassResult()
        reason = "{} has no integer kernel that {} gains by becoming {}"
        result.remarks.append(self.remark(RemarkKind.ANALYSIS, "", reason, context.target.name, _MEAN, _POOL))
        return result

    def match(self, root: gs.Node) -> Match | None:
        return {"mean": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        mean = match["mean"]
        x = mean.inputs[0]
        if x.shape is None or len(x.shape) < _IMAGE_RANK:
            return Reason("`{}` of shape {} is no image", x.name, "?" if x.shape is None else list(x.shape))
        axes = reduced_axes(mean, len(x.shape), keeps=bool(mean.attrs.get("keepdims", 1)))
        if isinstance(axes, Reason):
            return axes
        if axes != list(range(_CHANNELS_AXIS + 1, len(x.shape))):
            return Reason("the mean is over the axes {}, not all behind the channels", axes)
        if 0 in x.shape:
            return Reason("`{}` is empty", x.name)
        if is_answer(mean.outputs[0], {id(tensor) for tensor in rewriter.graph.outputs}):
            return Reason("in integers it would round the model's answer")
        return unsuitable(x, ("float32",))

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        mean = match["mean"]
        x, output, keeps = mean.inputs[0], mean.outputs[0], mean.attrs.get("keepdims", 1)
        pool = rewriter.insert(gs.Node(_POOL, mean.name, {}, [x]), mean)
        last = pool
        if not keeps:
            shape = [*x.shape[:2], *(1 for _ in x.shape[2:])]
            pool.outputs.append(rewriter.variable(f"{output.name}_pooled", x.dtype, shape))
            name = f"{mean.name}_Flatten" if mean.name else ""
            last = rewriter.insert(gs.Node("Flatten", name, {"axis": 1}, pool.outputs), mean)
        rewriter.erase(mean)
        last.outputs.append(output)
