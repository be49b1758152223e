"""Q and DQ whose scales are computed, in arithmetic."""

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

_INTEGERS = ("int8", "uint8", "int16", "uint16")


@dataclass(frozen=True)
class WriteOutQuantization(Rule):
    """Write QuantizeLinear and DequantizeLinear as arithmetic where their scales are computed.

        before   QuantizeLinear(x, scale, zero)                          DequantizeLinear(q, scale, zero)
        after    Cast<uint8>(Clip(Round(x / scale) + zero, 0, 255))      (Cast<float>(q) - zero) * scale

    Runtimes whose integer kernels want scales that are known before run such a model in floats.

    Does not fire if the scale is a constant, if it belongs to blocks, if a shape is not known, or if the integers have
    other than 8 or 16 bits.
    """

    name: ClassVar[str] = "write-out-quantization"
    roots: ClassVar[tuple[str, ...]] = ("QuantizeLinear", "DequantizeLinear")

    def match(self, root: gs.Node) -> Match | None:
        return None if isinstance(root.inputs[1], gs.Constant) else {"node": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node = match["node"]
        scale = static_shape(node.inputs[1])
        if scale is None or static_shape(node.inputs[0]) is None:
            return Reason("the shapes of `{}` and `{}` are not known", node.inputs[0].name, node.inputs[1].name)
        if len(scale) > 1:
            return Reason("`{}` holds scales of blocks", node.inputs[1].name)
        stored = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
        if stored.dtype is None or np.dtype(stored.dtype).name not in _INTEGERS:
            return Reason("`{}` has the type {}", stored.name, stored.dtype)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body = Body(rewriter, node)
        data, scale = body.cast(node.inputs[0]), body.cast(_along_axis(body, node, node.inputs[1]))
        zero = None
        if len(node.inputs) > 2 and not node.inputs[2].is_empty():
            zero = _along_axis(body, node, body.cast(node.inputs[2]))
        if node.op == "DequantizeLinear":
            real = body("Mul", data if zero is None else body("Sub", data, zero), scale)
            body.finish(body.cast(real, node.outputs[0].dtype))
            return
        dtype = np.dtype(node.outputs[0].dtype)
        info = np.iinfo(dtype)
        units = body("Round", body("Div", data, scale))
        units = units if zero is None else body("Add", units, zero)
        limits = [body.constant(limit, np.float32) for limit in (info.min, info.max)]
        body.finish(body.cast(body("Clip", units, *limits), dtype))


def _along_axis(body: Body, node: gs.Node, tensor: gs.Tensor) -> gs.Tensor:
    """Scales or zero points in a shape that is broadcast to the data's."""
    if not tensor.shape or np.prod(tensor.shape) == 1:
        return body.reshape(tensor, [])
    rank = len(node.inputs[0].shape)
    shape = [1] * rank
    shape[int(node.attrs.get("axis", 1)) % rank] = int(tensor.shape[0])
    return body.reshape(tensor, shape)
