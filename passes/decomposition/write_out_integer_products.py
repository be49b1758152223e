"""Products of plain integers as products of floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

_PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


@dataclass(frozen=True)
class WriteOutIntegerProducts(Rule):
    """Write a product of integers as one of floats, which hold the same numbers.

        before   MatMulInteger(a, b, a_zero, b_zero)
        after    Cast<int32>(MatMul(Cast<float>(a) - a_zero, Cast<float>(b) - b_zero))

    What models quantized at run time are made of becomes a float model whose weights, once constants are folded, are
    the rounded ones. Sums of more than 258 terms are rounded like those of any float model.

    Does not fire if the shape of an operand is not known.
    """

    name: ClassVar[str] = "write-out-integer-products"
    roots: ClassVar[tuple[str, ...]] = tuple(_PRODUCTS)

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        for tensor in match["node"].inputs:
            if not tensor.is_empty() and static_shape(tensor) is None:
                return Reason("the shape of `{}` is not known", tensor.name)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body = Body(rewriter, node)
        rows = [-1, 1] if node.op == "MatMulInteger" else None
        filters = None if node.op == "MatMulInteger" else [-1] + [1] * (len(node.inputs[1].shape) - 1)
        operands = [_real(body, node, 0, rows), _real(body, node, 1, filters)]
        product = body(_PRODUCTS[node.op], *operands, **node.attrs)
        body.finish(body.cast(product, np.int32))


def _real(body: Body, node: gs.Node, place: int, column: list[int] | None) -> gs.Tensor:
    """An operand without its zero point; a list of those stands along the axis that `column` reshapes it to."""
    operand = body.cast(node.inputs[place])
    if place + 2 >= len(node.inputs) or node.inputs[place + 2].is_empty():
        return operand
    zero = body.cast(node.inputs[place + 2])
    if column is not None and len(zero.shape) == 1 and np.prod(zero.shape) > 1:
        zero = body("Reshape", zero, body.constant(column, np.int64))
    return body("Sub", operand, zero)
