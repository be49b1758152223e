"""MatMul -> MatMul, or Gemm -> Gemm, with constant weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.gemm import bias_per_column
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, put_rounded, unshared
from pruna_ir.passes.fusion.scaled_conv import instead_of
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseMatmulMatmul(Rule):
    """Multiply the weights of two products in a row where that leaves fewer multiplications.

        before   Gemm(MatMul(x, A[80,40]), B[40,64], b)
        after    Gemm(x, A B, b)

    Each may be a MatMul or a Gemm; the bias of a first Gemm becomes part of that of a second one.

    Does not fire if the tensor between is an output of the graph or has other users, if the joint weight would be
    larger than both, if a weight is no floating-point constant or has other users, if a Gemm transposes or scales its
    input, if only the first has a bias, or where the result would overflow its type.
    """

    name: ClassVar[str] = "fuse-matmul-matmul"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm")

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "MatMul", "Gemm")
        if first is None or not all(_constant_matrix(node.inputs[1]) for node in (first, root)):
            return None
        return {"first": first, "second": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        weights = [first.inputs[1], second.inputs[1]]
        reason = rewriter.not_internal(first.outputs[0]) or not_foldable(weights) or unshared(weights)
        if reason is not None:
            return reason
        for node in (first, second):
            if node.attrs.get("transA", 0) or node.attrs.get("alpha", 1.0) != 1.0:
                return Reason("`{}` transposes or scales its input", node_name(node))
        source = first.inputs[0]
        if second.op == "Gemm" and first.op == "MatMul" and (source.shape is None or len(source.shape) != 2):
            return Reason("`{}` is not known to be a matrix", source.name)
        inner, outer = _matrix(first), _matrix(second)
        rows, columns = len(inner), outer.shape[1]
        if rows * columns > inner.size + outer.size:
            return Reason(
                "the joint weight {} would be larger than {} and {}", [rows, columns], inner.shape, outer.shape
            )
        bias = bias_per_column(first, inner.shape[1])
        if isinstance(bias, Reason):
            return bias
        return _joint(match, inner @ outer, bias @ outer)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        rewriter.set_input(second, 1, instead_of(second.inputs[1], match["weight"], rewriter))
        if match["bias"] is not None:
            rewriter.set_input(second, 2, rewriter.constant(f"{second.inputs[1].name}_bias", match["bias"]))
            second.attrs["beta"] = 1.0
        rewriter.set_input(second, 0, first.inputs[0])
        rewriter.erase(first)


def _constant_matrix(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) and len(tensor.shape) == 2


def _matrix(node: gs.Node) -> np.ndarray:
    """The weight of a product as [rows, columns]."""
    weight = as_float64(node.inputs[1])
    return weight.T if node.attrs.get("transB", 0) else weight


def _joint(match: Match, weight: np.ndarray, added: np.ndarray) -> Reason | None:
    """Put weight and bias (None: as it was) of both in one in the match, or say why there are none."""
    second = match["second"]
    dtype = second.inputs[1].dtype
    bias = None
    if added.any():
        if second.op != "Gemm":
            return Reason("`{}` has a bias, and `{}` takes none", node_name(match["first"]), node_name(second))
        old = bias_per_column(second, weight.shape[1])
        if isinstance(old, Reason):
            return old
        bias = old + added
    results = {"weight": weight.T if second.attrs.get("transB", 0) else weight, "bias": bias}
    return put_rounded(match, results, dtype)
