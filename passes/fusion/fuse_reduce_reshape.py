"""Reduce -> Reshape, where keepdims does what the second is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.static_shapes import RESHAPES, Dim, dimensions, gives_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

_ALONG_AXIS = ("ArgMax", "ArgMin")
_ALONG_AXES = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)


@dataclass(frozen=True)
class FuseReduceReshape(Rule):
    """Let a reduction keep or drop the axes that it reduces, instead of another node behind it.

        before   Unsqueeze(ReduceMean<keepdims=0>(x, [2]), [2])     Flatten(ReduceMean<keepdims=1>(x[n,c,h,w], [2,3]))
        after    ReduceMean<keepdims=1>(x, [2])                     ReduceMean<keepdims=0>(x, [2,3])

    For all Reduce operators, ArgMax and ArgMin; Reshape, Flatten, Squeeze and Unsqueeze.

    Does not fire if the tensor between the two is an output of the graph or has other users, if the axes are computed,
    or if the second node may give another shape than the reduction would: unless both name the same axes, the rank must
    be known.
    """

    name: ClassVar[str] = "fuse-reduce-reshape"
    roots: ClassVar[tuple[str, ...]] = RESHAPES
    requires: ClassVar[frozenset[str]] = frozenset((*_ALONG_AXIS, *_ALONG_AXES))

    def match(self, root: gs.Node) -> Match | None:
        reduction = producer(root.inputs[0], *_ALONG_AXIS, *_ALONG_AXES)
        return {"reduction": reduction, "reshape": root} if reduction is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reduction, reshape = match["reduction"], match["reshape"]
        keeps = not reduction.attrs.get("keepdims", 1)
        axes = _axes(reduction)
        reason = axes if isinstance(axes, Reason) else _other_shape(reduction, reshape, axes, keeps)
        match["keeps"] = int(keeps)
        return reason or rewriter.not_internal(reduction.outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        reduction, reshape = match["reduction"], match["reshape"]
        output = reshape.outputs[0]
        rewriter.erase(reshape)
        reduction.attrs["keepdims"] = match["keeps"]
        rewriter.take_over(reduction, output)


def _other_shape(reduction: gs.Node, reshape: gs.Node, axes: list[int], keeps: bool) -> Reason | None:
    """Why the second node may give another shape than the reduction if that keeps (or drops) what it reduces."""
    if axes and reshape.op == ("Unsqueeze" if keeps else "Squeeze") and _vector(reshape.inputs[1:]) == axes:
        return None  # whatever the rank is
    given, result = reduction.inputs[0], reduction.outputs[0]
    dims = dimensions(result)
    if given.shape is None or dims is None:
        return Reason("the rank of `{}` is not known", result.name if dims is None else given.name)
    if gives_shape(result, [reshape], _toggled(dims, reduction, axes, len(given.shape), keeps)):
        return None
    return Reason("`{}` may have another shape than with keepdims={:d}", reshape.outputs[0].name, keeps)


def _toggled(dims: list[Dim], reduction: gs.Node, axes: list[int], rank: int, keeps: bool) -> list[Dim]:
    """What a reduction gives if it keeps (or drops) the axes that it reduces, in terms of what it gives now."""
    if not axes:  # all of them, or none
        axes = [] if reduction.attrs.get("noop_with_empty_axes", 0) else list(range(rank))
    reduced = {axis % max(rank, 1) for axis in axes}
    if not keeps:
        return [dim for axis, dim in enumerate(dims) if axis not in reduced]
    left = iter(dims)
    return [1 if axis in reduced else next(left) for axis in range(rank)]


def _axes(reduction: gs.Node) -> list[int] | Reason:
    """The axes that a node names, as attribute or as input, in order."""
    if reduction.op in _ALONG_AXIS:
        return [reduction.attrs.get("axis", 0)]
    if len(reduction.inputs) < 2 or reduction.inputs[1].is_empty():
        return sorted(reduction.attrs.get("axes", ()))
    axes = _vector(reduction.inputs[1:])
    return axes if axes is not None else Reason("`{}` is not a constant", reduction.inputs[1].name)


def _vector(inputs: Sequence[gs.Tensor]) -> list[int] | None:
    """The values of the first input if it is a constant, in order."""
    constant = inputs[0] if inputs else None
    return sorted(np.asarray(constant.values).reshape(-1).tolist()) if isinstance(constant, gs.Constant) else None
