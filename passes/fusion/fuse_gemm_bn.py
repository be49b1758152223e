"""Gemm or MatMul -> BatchNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.affine import batch_norm
from pruna_ir.passes.fusion.gemm import bias_per_column, put_gemm
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, put_rounded
from pruna_ir.passes.fusion.scaled_conv import has_bias, instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseGemmBn(Rule):
    """Fold a BatchNormalization of columns into the Gemm or MatMul before it.

        before   BatchNormalization(Gemm(x[M,K], W[K,N], c[N]), gamma, beta, mean, var)
        after    Gemm(x, W * s, (c - mean) * s + beta)     s = gamma / sqrt(var + epsilon), per column

    A MatMul of two matrices becomes a Gemm.

    Does not fire if the product is an output of the graph or has other users, if its rank is not known to be 2, if a
    weight or statistic is no floating-point constant, if the bias varies over rows, in training mode, or where the
    result would overflow the weights' type. A shared weight is copied, not changed.
    """

    name: ClassVar[str] = "fuse-gemm-bn"
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, root: gs.Node) -> Match | None:
        product = producer(root.inputs[0], "Gemm", "MatMul")
        return {"bn": root, "product": product} if product is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        product: gs.Node = match["product"]
        weight = product.inputs[1]
        reason = rewriter.not_internal(product.outputs[0])
        if reason is None:
            reason = not_foldable([weight])
        if reason is not None:
            return reason
        for tensor in product.inputs[:2]:
            if tensor.shape is None or len(tensor.shape) != 2:
                return Reason("`{}` is not known to be a matrix", tensor.name)
        affine = batch_norm(match["bn"])
        if isinstance(affine, Reason):
            return affine
        bias = bias_per_column(product, len(affine[0]))
        if isinstance(bias, Reason):
            return bias
        return _fold(match, *affine, bias)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        product: gs.Node = match["product"]
        data, weight = product.inputs[:2]
        bias = instead_of(product.inputs[2], match["bias"], rewriter) if has_bias(product) else None
        if bias is None:
            bias = rewriter.constant(f"{weight.name}_bias", match["bias"])
        attributes = {name: product.attrs[name] for name in ("alpha", "transA", "transB") if name in product.attrs}
        inputs = [data, instead_of(weight, match["weight"], rewriter), bias]
        gemm = gs.Node("Gemm", name=product.name, attrs=attributes, inputs=inputs)
        put_gemm(gemm, product, match["bn"], rewriter)


def _fold(match: Match, scale: np.ndarray, shift: np.ndarray, bias: np.ndarray) -> Reason | None:
    """Put the new weight and bias in the match, or say why there are none."""
    product: gs.Node = match["product"]
    weight, dtype = as_float64(product.inputs[1]), product.inputs[1].dtype
    columns = (-1, 1) if product.attrs.get("transB", 0) else (1, -1)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
        fused = {"weight": weight * scale.reshape(columns), "bias": bias * scale + shift}
    return put_rounded(match, fused, dtype)
