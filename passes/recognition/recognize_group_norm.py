"""Reshape -> InstanceNormalization -> Reshape -> GroupNormalization."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.passes.fusion.static_shapes import leaves_shape
from pruna_ir.passes.recognition.recognition import Recognition, unsuitable
from pruna_ir.pipeline.patterns import Op, Pattern, Value
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, producer
from pruna_ir.remarks import Reason

# The default of the attribute, by ONNX.
_EPSILON = 1e-5

_SPLIT = Op("Reshape", Value("x"), ..., name="split")


@dataclass(frozen=True)
class RecognizeGroupNorm(Recognition):
    """Find group normalization; `fuse-norm-affine` then moves its scale and bias in.

        before   Reshape(x, [0, g, -1]) -> InstanceNormalization(ones, zeros) -> Reshape(shape of x)
        after    GroupNormalization<num_groups=g>(x, ones, zeros)

    Does not fire below opset 21 (the operator of opset 18 has one scale per group), if the Reshapes do not make and
    undo groups of channels, if the scale or the bias is no constant, if a tensor inside of the idiom is an output of
    the graph or has other users, if x is no float, or if the target is slow at GroupNormalization.
    """

    name: ClassVar[str] = "recognize-group-norm"
    makes: ClassVar[tuple[str, int] | None] = ("GroupNormalization", 21)
    pattern: ClassVar[Pattern] = Op("Reshape", Op("InstanceNormalization", _SPLIT, ..., name="norm"), ..., name="join")

    def refusal(self, match: Match) -> Reason | None:
        x, split, norm, join = match["x"], match["split"], match["norm"], match["join"]
        reason = unsuitable(x) or not_foldable(norm.inputs[1:])
        if reason is not None:
            return reason
        if x.shape is None or len(x.shape) < 3 or not isinstance(x.shape[1], int):
            return Reason("the channels of `{}` of shape {} are not known", x.name, x.shape)
        groups = norm.inputs[1].shape[0]
        if x.shape[1] % groups or not _makes_groups(split, groups):
            return Reason("`{}` is not {} groups of the channels of `{}`", split.outputs[0].name, groups, x.name)
        if not (_is_shape_of(join.inputs[1], x) or leaves_shape(x, [split, join])):
            return Reason("`{}` may not have the shape of `{}`", join.outputs[0].name, x.name)
        return None

    def inputs(self, match: Match, rewriter: Rewriter) -> Sequence[gs.Tensor]:
        x, norm = match["x"], match["norm"]
        repeats = x.shape[1] // norm.inputs[1].shape[0]
        given = zip(("scale", "bias"), norm.inputs[1:], strict=True)
        return [x, *(rewriter.constant(f"{x.name}_{what}", np.repeat(old.values, repeats)) for what, old in given)]

    def attributes(self, match: Match) -> Mapping[str, Any]:
        norm = match["norm"]
        return {"num_groups": norm.inputs[1].shape[0], "epsilon": norm.attrs.get("epsilon", _EPSILON)}

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        shapes = [match["split"].inputs[1], match["join"].inputs[1]]
        super().rewrite(match, rewriter)
        for shape in shapes:
            if not shape.outputs:
                rewriter.erase_unread(shape)


def _makes_groups(split: gs.Node, groups: int) -> bool:
    """Whether a Reshape is sure to keep axis 0, and to make axis 1 the groups."""
    x, target = split.inputs
    if not isinstance(target, gs.Constant) or (target.shape != (3,) and list(target.shape) != [3]):
        return False
    first, second, rest = (int(size) for size in np.asarray(target.values))
    if second != groups or split.attrs.get("allowzero", 0):
        return False
    sizes = x.shape[1:]
    known = math.prod(sizes) // groups if all(isinstance(size, int) for size in sizes) else None
    return first in (0, x.shape[0]) or (first == -1 and rest == known)


def _is_shape_of(shape: gs.Tensor, x: gs.Tensor) -> bool:
    node = producer(shape, "Shape")
    return node is not None and node.inputs[0] is x and not node.attrs.get("start", 0) and "end" not in node.attrs
