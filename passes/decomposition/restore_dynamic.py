"""Products whose input is quantized at run time as products of floats with stored weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.pipeline.pass_base import Effect
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# The product of floats, and the axis of the weight that its scales belong to.
_PRODUCTS = {"MatMulInteger": ("MatMul", -1), "ConvInteger": ("Conv", 0)}


@dataclass(frozen=True)
class RestoreDynamic(Rule):
    """Write a product that quantizes its input at run time as one of floats, with the weights as they are stored.

        before   q, s, z = DynamicQuantizeLinear(x)     Mul(Cast<float>(MatMulInteger(q, w, z)), Mul(s, w_scale))
        after    MatMul(x, DequantizeLinear(w, w_scale))

    Runtimes quantize at run time in kernels of their own, or compute in floats. The numbers of the weights stay; the
    input is no longer rounded.

    Does not fire if the weight, its scale or its zero point is computed; if anything between is an output of the graph
    or has other users; nor if the scales are not those of the product's columns.
    """

    name: ClassVar[str] = "restore-dynamic"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    roots: ClassVar[tuple[str, ...]] = tuple(_PRODUCTS)

    def match(self, root: gs.Node) -> Match | None:
        source = producer(root.inputs[0], "DynamicQuantizeLinear")
        if source is None or len(root.inputs) < 3 or root.inputs[2] is not source.outputs[2]:
            return None
        cast = _only_reader(root.outputs[0], "Cast")
        scaling = None if cast is None else _only_reader(cast.outputs[0], "Mul")
        if cast is None or scaling is None:
            return None
        both = producer(next(tensor for tensor in scaling.inputs if tensor is not cast.outputs[0]), "Mul")
        if both is None or all(tensor is not source.outputs[1] for tensor in both.inputs):
            return None
        scale = next(tensor for tensor in both.inputs if tensor is not source.outputs[1])
        return {"node": root, "source": source, "cast": cast, "scaling": scaling, "both": both, "scale": scale}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node, scale = match["node"], match["scale"]
        parameters = [node.inputs[1], scale, *node.inputs[3:]]
        computed = [tensor for tensor in parameters if not isinstance(tensor, gs.Constant)]
        if computed:
            return Reason("`{}` is computed", computed[0].name)
        if np.size(scale.values) not in (1, node.inputs[1].shape[_PRODUCTS[node.op][1]]):
            return Reason("`{}` holds scales of something else than columns", scale.name)
        between = [node.outputs[0], match["cast"].outputs[0]]
        return next(filter(None, map(rewriter.not_internal, between)), None)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node, scaling = match["node"], match["scaling"]
        body, (op, axis) = Body(rewriter, scaling), _PRODUCTS[node.op]
        weight = node.inputs[1]
        scale = np.asarray(match["scale"].values).reshape(-1)
        zero = np.zeros(1, weight.dtype) if len(node.inputs) < 4 else np.asarray(node.inputs[3].values).reshape(-1)
        shape = () if scale.size == zero.size == 1 else (max(scale.size, zero.size),)
        params = [body.constant(np.broadcast_to(part, shape) if shape else part[0]) for part in (scale, zero)]
        real = body("DequantizeLinear", weight, *params, axis=axis % len(weight.shape))
        body.finish(body(op, match["source"].inputs[0], real, **node.attrs))
        rewriter.erase_unread(match["cast"].outputs[0])
        rewriter.erase_unread(match["both"].outputs[0])


def _only_reader(tensor: gs.Tensor, op: str) -> gs.Node | None:
    readers = tensor.outputs
    return readers[0] if len(readers) == 1 and readers[0].op == op else None
