"""Scale groups: the tensors that must share a scale and a zero point, and what those are.

What the kernels of a target demand of each other's scales (`Scales`, `Fixed`) is settled before anything is written:
tensors are joined into groups, and each group is solved once, from the ranges of what flows into it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import SMALLEST_RANGE, QuantParams, Range, Scheme
from pruna_ir.passes.quantization.kernel import Bounds, Kernel
from pruna_ir.passes.quantization.plan import Plan
from pruna_ir.targets import Scales, Target


@dataclass
class _Group:
    """Tensors with one scale. `fixed` is the scale that a kernel which writes one of them insists on."""

    tensors: list[gs.Tensor] = field(default_factory=list)
    fixed: QuantParams | None = None


class ScaleGroups:
    """Scale and zero point of every activation of a plan.

    `ranges` holds the range of each tensor that the plan calibrates. Raises KeyError if one is missing. `outputs` are
    the ids of the graph's outputs.
    """

    def __init__(self, plan: Plan, target: Target, ranges: Mapping[str, Range], outputs: Collection[int] = ()) -> None:
        self.scheme, self.ranges = target.activations, ranges
        self.writers = {id(tensor): kernel for kernel in plan.kernels for tensor in kernel.outputs}
        self._groups: dict[int, _Group] = {}
        self._params: dict[int, QuantParams] = {}
        for kernel in plan.kernels:
            if kernel.row.fixed is not None:
                self._group(kernel.output).fixed = kernel.row.fixed.params(self.scheme)
            if kernel.row.scales is Scales.MOVED:
                for tensor in kernel.outputs:
                    self._join(kernel.activations()[0][1], tensor)
        for kernel in plan.kernels:
            if kernel.row.scales is Scales.EQUAL:
                for _, tensor in kernel.activations():
                    if self._group(tensor).fixed is None:
                        self._join(tensor, kernel.output)
            if kernel.row.scales is Scales.UNION:
                for tensor in self._written_for(kernel, outputs):
                    self._join(tensor, kernel.output)

    def params(self, tensor: gs.Tensor) -> QuantParams:
        """Scale and zero point of a tensor that some kernel reads or writes in integers."""
        group = self._group(tensor)
        if id(group) not in self._params:
            self._params[id(group)] = self._solve(group)
        return self._params[id(group)]

    def other_params(self, kernel: Kernel, tensor: gs.Tensor) -> QuantParams | None:
        """What a kernel with equal scales reads a tensor in, if it is not what the tensor has: that one is fixed."""
        if kernel.row.scales is not Scales.EQUAL or self.params(tensor) is self.params(kernel.output):
            return None
        return self.params(kernel.output)

    def saturates(self, kernel: Kernel) -> bool:
        """Whether no integer of the output lies outside of what the absorbed activation function gives."""
        return kernel.bounds is not None and not _exceeds(self.scheme, self.params(kernel.output), kernel.bounds)

    def _group(self, tensor: gs.Tensor) -> _Group:
        if id(tensor) not in self._groups:
            self._groups[id(tensor)] = _Group([tensor])
        return self._groups[id(tensor)]

    def _join(self, one: gs.Tensor, other: gs.Tensor) -> None:
        kept, gone = self._group(one), self._group(other)
        if kept is gone:
            return
        kept.tensors += gone.tensors
        kept.fixed = kept.fixed or gone.fixed
        for tensor in gone.tensors:
            self._groups[id(tensor)] = kept

    def _written_for(self, union: Kernel, outputs: Collection[int]) -> list[gs.Tensor]:
        """What kernels with a free scale write for a union alone: in its scale from the start it is rounded once.

        Where an activation function is absorbed, the range must end where that clips: that of all inputs then has to.
        """
        reads = [read for _, read in union.activations()]
        bounds = {self._bounds(read) for read in reads}
        writers = [self.writers.get(id(read)) for read in reads]
        return [
            read
            for read, writer in zip(reads, writers, strict=True)
            if writer is not None and writer.row.scales is Scales.FREE and self._group(read).fixed is None
            if len(read.outputs) == 1 and id(read) not in outputs
            if self._bounds(read) == Bounds() or len(bounds) == 1
        ]

    def _solve(self, group: _Group) -> QuantParams:
        if group.fixed is not None:
            return group.fixed
        sources = [tensor for tensor in group.tensors if not self._follows(tensor)]
        outside = self._read_from_outside(group)
        if outside and not sources:
            return _union([self.params(read) for read in outside], self.scheme)
        found = _hull([*map(self._range, sources), *(self.scheme.range(self.params(read)) for read in outside)])
        widest = next((self.params(read) for read in outside if self.scheme.range(self.params(read)) == found), None)
        if widest is not None:
            return widest
        bounds = [self._bounds(tensor) for tensor in (*sources, *outside)]
        return fit(self.scheme, found, Bounds(min(b.low for b in bounds), max(b.high for b in bounds)))

    def _follows(self, tensor: gs.Tensor) -> bool:
        """Whether other tensors decide what values this one takes."""
        writer = self.writers.get(id(tensor))
        return writer is not None and writer.row.scales is not Scales.FREE

    def _range(self, tensor: gs.Tensor) -> Range:
        if isinstance(tensor, gs.Constant):
            return Range(min(float(tensor.values.min()), 0.0), max(float(tensor.values.max()), 0.0))
        return self.ranges[tensor.name]

    def _read_from_outside(self, group: _Group) -> list[gs.Tensor]:
        """What kernels that join values into the group read with scales of their own."""
        writers = [self.writers[id(tensor)] for tensor in group.tensors if id(tensor) in self.writers]
        return [
            read
            for kernel in writers
            if kernel.row.scales in (Scales.EQUAL, Scales.UNION)
            for _, read in kernel.activations()
            if self._group(read) is not group
        ]

    def _bounds(self, tensor: gs.Tensor) -> Bounds:
        writer = self.writers.get(id(tensor))
        return (writer.bounds if writer is not None else None) or Bounds()


def _hull(ranges: Sequence[Range]) -> Range:
    return Range(min(float(r.minimum) for r in ranges), max(float(r.maximum) for r in ranges))


def _union(inputs: Sequence[QuantParams], scheme: Scheme) -> QuantParams:
    """Parameters for what any of the inputs can represent; those of the widest input where it holds all others."""
    ranges = [scheme.range(params) for params in inputs]
    hull = _hull(ranges)
    for params, item in zip(inputs, ranges, strict=True):
        if item.minimum == hull.minimum and item.maximum == hull.maximum:
            return params
    return scheme.quantization(hull)


def fit(scheme: Scheme, found: Range, bounds: Bounds) -> QuantParams:
    """Scale and zero point for a range within the bounds of an absorbed activation function.

    No representable value may pass a bound by even a rounding error: it would be a value that the function never
    gives, and the runtime would keep a Clip in float that another tool has left in the graph. A symmetric scheme
    cannot end where a function clips on one side: there the function stays in the graph.
    """
    low, high = max(float(found.minimum), bounds.low), min(float(found.maximum), bounds.high)
    if high - low < SMALLEST_RANGE:  # only zeros were seen: any range within the bounds
        low, high = max(-1.0, bounds.low), min(1.0, bounds.high)
    params = scheme.quantization(Range(low, high))
    if scheme.symmetric or not _exceeds(scheme, params, bounds):
        return params
    middle = int(params.zero_point)
    zero_points = [at for at in (middle, middle - 1, middle + 1) if scheme.lowest <= at <= scheme.highest]
    return max((_within(scheme, at, params, bounds) for at in zero_points), key=lambda fitted: float(fitted.scale))


def _within(scheme: Scheme, zero_point: int, params: QuantParams, bounds: Bounds) -> QuantParams:
    """The largest scale up to that of `params` with which no value at this zero point passes a bound."""
    scale = float(params.scale)
    if zero_point < scheme.highest:
        scale = min(scale, bounds.high / (scheme.highest - zero_point))
    if zero_point > scheme.lowest:
        scale = min(scale, -bounds.low / (zero_point - scheme.lowest))
    fitted = replace(params, scale=np.array(scale, np.float32), zero_point=np.array(zero_point, scheme.dtype))
    while _exceeds(scheme, fitted, bounds):  # by the rounding of the scale
        fitted = replace(fitted, scale=np.nextafter(fitted.scale, np.float32(0)))
    return fitted


def _exceeds(scheme: Scheme, params: QuantParams, bounds: Bounds) -> bool:
    zero_point = np.float32(params.zero_point)
    top = (np.float32(scheme.highest) - zero_point) * params.scale
    bottom = (np.float32(scheme.lowest) - zero_point) * params.scale
    return bool(top > np.float32(bounds.high) or bottom < np.float32(bounds.low))
