"""The import-calibration pass."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pruna_ir import registry
from pruna_ir.analysis.qdq import quantized_already
from pruna_ir.calibration.scheme import Range
from pruna_ir.diagnostics import error
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.insert import insert_qdq
from pruna_ir.passes.quantization.plan import Plan, make_plan
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

_HEADER = "TRT-"
# The integer that the largest value of a range becomes in TensorRT.
_HIGHEST = 127


@dataclass(frozen=True)
class ImportCalibration(Pass):
    """Quantize by the scales of a TensorRT calibration cache, which TensorRT 11 does not read any more.

    Before:  x -> Conv(w, b) -> y                      and a cache with the line `x: 3c010a14`
    After:   x -> Q(0.00787) -> DQ -> Conv(DQ(w8), b) -> y

    The cache holds a scale for each tensor by its name, as a float in hexadecimal digits. Q/DQ are placed by the
    target's table, weights are rounded channel by channel. A layer stays in float if the cache has no scale for
    something that it reads.
    """

    name: ClassVar[str] = "import-calibration"
    effect: ClassVar[Effect] = Effect.APPROXIMATE

    cache: str = option("", "the file that a calibrator of TensorRT wrote")
    target: str = option("tensorrt", "table to quantize for")

    def run(self, model: Model, context: Context) -> PassResult:
        """Quantize `model`; raises S002 if the cache cannot be read, or is about another model."""
        target, result = registry.target(self.target), PassResult()
        scales = read_cache(self.cache)
        if (found := quantized_already(model.graph)) is not None:
            result.remarks.append(self.remark(RemarkKind.MISSED, "", "{} are there already, and stay", found))
            return result
        plan = self._known(model, target, scales, result)
        if not plan.kernels:
            help_text = "was the cache made from this file? Names of tensors must be those of the model"
            raise error("S002", "the cache has no scales for any layer", place=self.cache, help=help_text)
        context.before_rounding(model)
        ranges = {name: Range(-_HIGHEST * scales[name], _HIGHEST * scales[name]) for name in plan.calibrated()}
        insert_qdq(model.graph, plan, target, ranges)
        result.count("integer kernels", len(plan.kernels))
        return result

    def _known(self, model: Model, target: Target, scales: dict[str, float], result: PassResult) -> Plan:
        """The plan of the kernels for which there are scales."""
        plan = make_plan(model.graph, target, None)
        while True:
            missing = {
                kernel.key: tensor.name
                for kernel in plan.kernels
                for _, tensor in kernel.activations()
                if tensor.name in plan.calibrated() and tensor.name not in scales
            }
            missing |= {key: name for name in plan.calibrated() if name not in scales for key in _writers(plan, name)}
            if not missing:
                return plan
            for kernel in plan.kernels:
                if kernel.key in missing:
                    text = "stays in float: the cache has no scale for `{}`"
                    place = node_name(kernel.node)
                    result.remarks.append(self.remark(RemarkKind.MISSED, place, text, missing[kernel.key]))
            plan = make_plan(model.graph, target, {kernel.key for kernel in plan.kernels} - missing.keys())


def _writers(plan: Plan, name: str) -> list[str]:
    """The kernels that write a tensor in integers."""
    writers = (kernel for kernel in plan.kernels if kernel.writes_integers)
    return [kernel.key for kernel in writers if any(tensor.name == name for tensor in kernel.outputs)]


def read_cache(path: str) -> dict[str, float]:
    """The scales of a calibration cache by the names of tensors; those of zero, of what was never used, left out.

    Raises S002 if the file is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise error("S002", f"the calibration cache cannot be read: {failure}", place=path) from None
    if not lines or not lines[0].startswith(_HEADER):
        help_text = "its first line is such as `TRT-8501-EntropyCalibration2`"
        raise error("S002", "this is no calibration cache of TensorRT", place=path, help=help_text)
    scales = {}
    for number, line in enumerate(lines[1:], start=2):
        name, _, digits = line.rpartition(": ")
        try:
            (scale,) = struct.unpack(">f", bytes.fromhex(digits.strip()))
        except (ValueError, struct.error):
            message = "a line is not of the form `tensor: 3c010a14`"
            raise error("S002", message, place=f"{path}:{number}", source=line[:80], span=(0, 1)) from None
        if scale > 0 and scale != float("inf"):
            scales[name] = scale
    return scales
