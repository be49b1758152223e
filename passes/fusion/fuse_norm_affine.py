"""LayerNormalization and its kin -> Mul or Add."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import Affine, arithmetic
from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable, rounded
from pruna_ir.passes.fusion.static_shapes import covers
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# Normalizations whose scale and bias are one value per channel (axis 1), and over the last axes.
_PER_CHANNEL = ("InstanceNormalization", "GroupNormalization")
_OVER_LAST_AXES = ("LayerNormalization", "RMSNormalization")
_WITHOUT_BIAS = ("RMSNormalization",)


@dataclass(frozen=True)
class FuseNormAffine(Rule):
    """Move a multiplication or addition behind a normalization into its scale and bias.

        before   LayerNormalization(x, s, b) -> Mul(a) -> Add(c)
        after    LayerNormalization(x, s * a, b * a + c)

    For LayerNormalization, RMSNormalization (which has no bias), InstanceNormalization and GroupNormalization, and for
    Div and Sub as well.

    Does not fire if the tensor between the two is an output of the graph or has other users, if a parameter is no
    floating-point constant, or if the operand does not have the shape of the parameters.
    """

    name: ClassVar[str] = "fuse-norm-affine"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div", "Add", "Sub")

    def match(self, root: gs.Node) -> Match | None:
        for index, tensor in enumerate(root.inputs):
            norm = producer(tensor, *_PER_CHANNEL, *_OVER_LAST_AXES)
            if norm is None or norm.outputs[0] is not tensor or (root.op, index) == ("Div", 1):
                continue
            if not is_parameter(root.inputs[1 - index]):
                continue
            if norm.op not in _WITHOUT_BIAS or root.op in ("Mul", "Div"):
                return {"norm": norm, "root": root, "index": index}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        norm, root, index = match["norm"], match["root"], match["index"]
        parameters = [tensor for tensor in norm.inputs[1:] if not tensor.is_empty()]
        reason = rewriter.not_internal(norm.outputs[0]) or not_foldable([*parameters, root.inputs[1 - index]])
        if reason is not None:
            return reason
        affine = self._per_channel(match) if norm.op in _PER_CHANNEL else self._over_last_axes(match)
        if isinstance(affine, Reason):
            return affine
        scale, shift = affine
        own = [np.broadcast_to(as_float64(tensor), scale.shape) for tensor in parameters]
        biased = len(own) > 1 or shift.any()
        values = [own[0] * scale, (own[1] if len(own) > 1 else 0) * scale + shift]
        match["values"] = []
        for what, exact in zip(("scale", "bias"), values[: 1 + biased], strict=False):
            stored = rounded(exact, parameters[0].dtype, what)
            if isinstance(stored, Reason):
                return stored
            match["values"].append(stored)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        norm, root = match["norm"], match["root"]
        for place, (what, values) in enumerate(zip(("scale", "bias"), match["values"], strict=False), start=1):
            rewriter.set_input(norm, place, rewriter.constant(f"{root.outputs[0].name}_{what}", values))
        rewriter.take_over(norm, root.outputs[0])
        rewriter.erase(root)

    @staticmethod
    def _per_channel(match: Match) -> Affine | Reason:
        norm = match["norm"]
        output = norm.outputs[0]
        return arithmetic(match["root"], match["index"], norm.inputs[1].shape[0], len(output.shape or ()))

    @staticmethod
    def _over_last_axes(match: Match) -> Affine | Reason:
        norm, root, index = match["norm"], match["root"], match["index"]
        operand = root.inputs[1 - index]
        data = norm.outputs[0] if norm.outputs[0].shape is not None else norm.inputs[0]  # of the same shape
        sizes = None if data.shape is None else data.shape[norm.attrs.get("axis", -1) :]
        if sizes is None or not all(isinstance(size, int) for size in sizes):
            return Reason("the sizes that `{}` is normalized over are not known", norm.inputs[0].name)
        added = len(operand.shape) - len(sizes)
        if not covers(data, operand.shape) or math.prod(operand.shape[: max(added, 0)]) != 1:
            return Reason(
                "`{}` of shape {} is no scale or bias over {}", operand.name, list(operand.shape), list(sizes)
            )
        values = np.broadcast_to(as_float64(operand).reshape(operand.shape[max(added, 0) :]), sizes)
        one, zero = np.ones(sizes), np.zeros(sizes)
        if root.op in ("Mul", "Div"):
            with np.errstate(divide="ignore"):
                return values if root.op == "Mul" else one / values, zero
        if root.op == "Add":
            return one, values
        return (one, -values) if index == 0 else (-one, values)
