"""BatchNormalization, Mul, Add, Sub or Div with a constant -> Conv or Gemm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.affine import Affine, arithmetic, batch_norm
from pruna_ir.passes.fusion.convolution import padding
from pruna_ir.passes.fusion.gemm import bias_per_column
from pruna_ir.passes.fusion.input_scale import grouped, scaled_weight
from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable, rounded
from pruna_ir.passes.fusion.scaled_conv import has_bias, instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseBnConv(Rule):
    """Fold a scale and shift of the input channels into the Conv or Gemm that reads them.

        before   Conv(BatchNormalization(x, gamma, beta, mean, var), W, b)
        after    Conv(x, W * s, b + sum(W * t))     s = gamma / sqrt(var + epsilon), t = beta - mean * s

    A product, sum, difference or quotient with a constant is folded as well, such as the scaling of pixels.

    Does not fire if the scaled tensor is an output of the graph or has other users, if there is a shift and the Conv
    pads (its zeros stand for values that are not shifted), if a weight or statistic is no floating-point constant, if
    the constant varies over batch or space, or where the weights' type cannot hold the result precisely; nor for the
    half that ends a GELU written out, without which runtimes do not recognise it. A shared weight is copied, not
    changed.
    """

    name: ClassVar[str] = "fuse-bn-conv"
    roots: ClassVar[tuple[str, ...]] = ("Conv", "Gemm")

    def match(self, root: gs.Node) -> Match | None:
        node = producer(root.inputs[0], "BatchNormalization", "Mul", "Add", "Sub", "Div")
        if node is None:
            return None
        if op_key(node) == "BatchNormalization":
            return {"root": root, "node": node, "index": 0}
        for index in (0, 1):
            quotient = node.op == "Div" and index == 1
            if is_parameter(node.inputs[1 - index]) and not is_parameter(node.inputs[index]) and not quotient:
                return {"root": root, "node": node, "index": index}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        root, node = match["root"], match["node"]
        reason = rewriter.not_internal(node.outputs[0])
        if reason is None:
            reason = not_foldable([root.inputs[1]])
        if reason is None and root.attrs.get("transA", 0):
            reason = Reason("`{}` transposes its input", node_name(root))
        if reason is None and _ends_gelu(node, match["index"]):
            reason = Reason("`{}` is the last factor of a GELU", node_name(node))
        if reason is not None:
            return reason
        weight = grouped(root, as_float64(root.inputs[1]))
        if node.op == "BatchNormalization":
            affine = batch_norm(node)
        else:
            channels = weight.shape[0] * weight.shape[2]
            affine = arithmetic(node, match["index"], channels, len(root.inputs[1].shape))
        if isinstance(affine, Reason):
            return affine
        return _fold(match, weight, affine)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        root, node = match["root"], match["node"]
        weight, bias = match["weight"], match["bias"]
        if bias is not None:
            old = root.inputs[2] if has_bias(root) else None
            name = f"{root.inputs[1].name}_bias"
            rewriter.set_input(
                root, 2, rewriter.constant(name, bias) if old is None else instead_of(old, bias, rewriter)
            )
            if root.op == "Gemm":
                root.attrs["beta"] = 1.0
        if weight is not None:
            rewriter.set_input(root, 1, instead_of(root.inputs[1], weight, rewriter))
        rewriter.set_input(root, 0, node.inputs[match["index"]])
        rewriter.erase(node)


def _ends_gelu(node: gs.Node, index: int) -> bool:
    """Whether the node halves x * (1 + Erf(x / sqrt(2))): runtimes fuse the whole, which is worth more than a node."""
    product = producer(node.inputs[index], "Mul") if node.op in ("Mul", "Div") else None
    sums = [producer(factor, "Add") for factor in product.inputs] if product is not None else []
    return any(producer(term, "Erf") for total in sums if total is not None for term in total.inputs)


def _fold(match: Match, weight: np.ndarray, affine: Affine) -> Reason | None:
    """Put the new weight and bias (None: as it was) in the match, or say why there are none."""
    root = match["root"]
    scale, shift = affine
    match["weight"] = match["bias"] = None
    if (scale != 1).any():
        scaled = scaled_weight(root, weight, scale)
        if isinstance(scaled, Reason):
            return scaled
        match["weight"] = scaled
    if not shift.any():
        return None
    groups, outputs, inputs, _ = weight.shape
    old = _old_bias(root, groups * outputs)
    if isinstance(old, Reason):
        return old
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = weight * shift.reshape(groups, 1, inputs, 1)
        added = shifted.sum(axis=(2, 3)).reshape(-1) * root.attrs.get("alpha", 1.0)
    bias = rounded(old + added, root.inputs[1].dtype, "bias")
    if isinstance(bias, Reason):
        return bias
    match["bias"] = bias
    return None


def _old_bias(root: gs.Node, outputs: int) -> np.ndarray | Reason:
    """What the root adds to each output channel before the fold, [outputs], or why a shift must not join it."""
    if root.op == "Gemm":
        return bias_per_column(root, outputs)
    pads = padding(root)
    if isinstance(pads, Reason):
        return pads
    if any(pads):
        return Reason("`{}` pads with zeros, which a shift before it does not reach", node_name(root))
    reason = not_foldable(root.inputs[2:3])
    if reason is not None:
        return reason
    return as_float64(root.inputs[2]) if has_bias(root) else np.zeros(outputs)
