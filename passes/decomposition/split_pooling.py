"""Pooling over three axes as two poolings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

# Attributes with a number for every spatial axis.
_PER_AXIS = ("kernel_shape", "strides", "dilations")


@dataclass(frozen=True)
class SplitPooling(Rule):
    """Pool over rows and columns first, and then over depth: what is largest, or the mean, is the same.

        before   MaxPool<kernel_shape=[2,3,3]>(x [n,c,d,h,w])
        after    MaxPool<kernel_shape=[2,1]>(Reshape(MaxPool<kernel_shape=[3,3]>(Reshape(x) [n,c*d,h,w])))

    Does not fire on fewer axes; nor if the shape is not known, or places are asked for.
    """

    name: ClassVar[str] = "split-pooling"
    roots: ClassVar[tuple[str, ...]] = ("MaxPool", "AveragePool")

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root} if len(root.attrs["kernel_shape"]) == 3 else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node = match["node"]
        if static_shape(node.inputs[0]) is None:
            return Reason("the shape of `{}` is not known", node.inputs[0].name)
        if len(node.outputs) > 1 and not node.outputs[1].is_empty():
            return Reason("the places are asked for")
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body = Body(rewriter, node)
        batch, channels, depth, *rest = node.inputs[0].shape
        planes = body.reshape(node.inputs[0], [batch, channels * depth, *rest])
        pooled = body(node.op, planes, **_attributes(node, [1, 2]))
        rows = list(pooled.shape[2:])
        columns = body.reshape(pooled, [batch, channels, depth, math.prod(rows)])
        result = body(node.op, columns, **_attributes(node, [0, None]))
        body.finish(body.reshape(result, [batch, channels, result.shape[2], *rows]))


def _attributes(node: gs.Node, axes: list[int | None]) -> dict[str, Any]:
    """Attributes for some of the three axes; None is an axis along which nothing is pooled."""
    found = {name: value for name, value in node.attrs.items() if name not in (*_PER_AXIS, "pads")}
    for name in _PER_AXIS:
        if name in node.attrs:
            found[name] = [1 if axis is None else node.attrs[name][axis] for axis in axes]
    if "pads" in node.attrs:
        pads = node.attrs["pads"]
        found["pads"] = [0 if axis is None else pads[axis + side] for side in (0, 3) for axis in axes]
    return found
