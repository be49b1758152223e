"""Reshape -> MatMul -> Add -> Reshape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import erase_unread
from pruna_ir.passes.fusion.parameters import is_parameter, not_foldable
from pruna_ir.passes.fusion.static_shapes import RESHAPES
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class FlattenMatmul(Rule):
    """Fuse a MatMul and the bias behind it into a Gemm where Reshapes before and behind them can make it a matrix.

        before   Reshape(Add(MatMul(Reshape(x, [n,16,K]), W[K,N]), b[N]), [n,4,4,N])
        after    Reshape(Gemm(Reshape(x, [-1,K]), W, b), [-1,4,4,N])

    The rows of a batch of matrices are multiplied one by one, so it makes no difference how they are grouped.

    Does not fire if a tensor between the four nodes is an output of the graph or has other users, if weight or bias is
    no floating-point constant, if the bias is not one value per column, or if more than one size behind them is not
    known where the Reshape may copy sizes.
    """

    name: ClassVar[str] = "flatten-matmul"
    roots: ClassVar[tuple[str, ...]] = ("Add",)

    def match(self, root: gs.Node) -> Match | None:
        after = root.outputs[0].outputs
        if len(after) != 1 or op_key(after[0]) not in RESHAPES or after[0].inputs[0] is not root.outputs[0]:
            return None
        for tensor, bias in (root.inputs, reversed(root.inputs)):
            matmul = producer(tensor, "MatMul")
            if matmul is not None and is_parameter(bias) and is_parameter(matmul.inputs[1]):
                before = producer(matmul.inputs[0], *RESHAPES)
                if before is not None and len(matmul.inputs[1].shape or ()) == 2:
                    return {"before": before, "matmul": matmul, "add": root, "bias": bias, "after": after[0]}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        before, matmul, add, after = (match[part] for part in ("before", "matmul", "add", "after"))
        data, weight = matmul.inputs
        for node in (before, matmul, add):
            reason = rewriter.not_internal(node.outputs[0])
            if reason is not None:
                return reason
        reason = not_foldable([weight, match["bias"]])
        if reason is not None:
            return reason
        if data.shape is None or len(data.shape) < 3:
            return Reason("`{}` is a matrix, or its rank is not known", data.name)
        columns, bias = weight.shape[1], match["bias"]
        if tuple(bias.shape) not in ((columns,), (1, columns), (1,), ()):
            return Reason("the bias `{}` of shape {} is not one value per column", bias.name, list(bias.shape))
        output, sizes = after.outputs[0], after.outputs[0].shape
        if _copies_nothing(after):
            return None
        if sizes is None or sum(not isinstance(size, int) for size in sizes) > 1 or 0 in sizes:
            return Reason("the shape of `{}` is not known, or empty", output.name)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        before, matmul, add, after = (match[part] for part in ("before", "matmul", "add", "after"))
        (data, weight), output = matmul.inputs, after.outputs[0]
        inner, columns = weight.shape
        first = rewriter.constant(f"{data.name}_rows_shape", np.array([-1, inner]))
        rows = rewriter.variable(f"{data.name}_rows", data.dtype, [None, inner])
        product = rewriter.variable(f"{add.outputs[0].name}_rows", data.dtype, [None, columns])
        nodes = [
            gs.Node("Reshape", name=before.name, inputs=[before.inputs[0], first], outputs=[rows]),
            gs.Node("Gemm", name=add.name, inputs=[rows, weight, match["bias"]], outputs=[product]),
            self._shaped(after, product, rewriter),
        ]
        for node in nodes:
            rewriter.insert(node, before=after)
        for node in (after, add, matmul):
            rewriter.erase(node)
        erase_unread(before, rewriter)
        nodes[-1].outputs.append(output)
        rewriter.touch(nodes[-1])

    @staticmethod
    def _shaped(after: gs.Node, data: gs.Tensor, rewriter: Rewriter) -> gs.Node:
        """A node that gives `data` the shape that `after` gives; it has no output yet."""
        if _copies_nothing(after):
            return gs.Node("Reshape", name=after.name, attrs=dict(after.attrs), inputs=[data, after.inputs[1]])
        output = after.outputs[0]
        sizes = [size if isinstance(size, int) else -1 for size in output.shape]
        return gs.Node(
            "Reshape", name=after.name, inputs=[data, rewriter.constant(f"{output.name}_shape", np.array(sizes))]
        )


def _copies_nothing(node: gs.Node) -> bool:
    """Whether a Reshape asks for sizes, none of which is one of its data's."""
    if op_key(node) != "Reshape":
        return False
    target = node.inputs[1]
    return bool(node.attrs.get("allowzero", 0)) or (isinstance(target, gs.Constant) and 0 not in target.values)
