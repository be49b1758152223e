"""MatMul -> Add with a constant vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.gemm import put_gemm
from pruna_ir.passes.fusion.parameters import is_parameter, not_foldable
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FuseMatmulAdd(Rule):
    """Merge a MatMul with a constant matrix and the Add of a constant bias to one Gemm.

        before   Add(MatMul(x[M,K], W[K,N]), b[N])
        after    Gemm(x, W, b)

    Does not fire if `x` is not a matrix (Gemm takes no batch dimensions), if the MatMul's output is an output of the
    graph or has other users, if weight or bias is no floating-point constant, or if the bias is not one value per
    column.
    """

    name: ClassVar[str] = "fuse-matmul-add"
    roots: ClassVar[tuple[str, ...]] = ("Add",)

    def match(self, root: gs.Node) -> Match | None:
        for tensor, bias in (root.inputs, reversed(root.inputs)):
            matmul = producer(tensor, "MatMul")
            if matmul is not None and is_parameter(bias) and is_parameter(matmul.inputs[1]):
                return {"add": root, "matmul": matmul, "bias": bias}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        matmul, bias = match["matmul"], match["bias"]
        data, weight = matmul.inputs
        reason = rewriter.not_internal(matmul.outputs[0])
        if reason is None:
            reason = not_foldable([weight, bias])
        if reason is not None:
            return reason
        if len(weight.shape) != 2:
            return Reason("the weight `{}` has {} dimensions, Gemm takes 2", weight.name, len(weight.shape))
        if data.shape is None:
            return Reason("the rank of `{}` is not known, Gemm takes 2 dimensions", data.name)
        if len(data.shape) != 2:
            return Reason("`{}` has {} dimensions, Gemm takes 2", data.name, len(data.shape))
        columns = weight.shape[1]
        if tuple(bias.shape) not in ((columns,), (1, columns), (1,), ()):
            return Reason("the bias `{}` of shape {} is not one value per column", bias.name, list(bias.shape))
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        add, matmul = match["add"], match["matmul"]
        gemm = gs.Node("Gemm", name=add.name, inputs=[*matmul.inputs, match["bias"]])
        put_gemm(gemm, matmul, add, rewriter)
