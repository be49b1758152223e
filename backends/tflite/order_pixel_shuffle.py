"""DepthToSpace in the order of channels that LiteRT has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

# What may stand between the convolution and the shuffle: whatever treats all channels alike.
_BETWEEN = (QUANTIZE, DEQUANTIZE, "Clip", "LeakyRelu", "Relu", "Sigmoid", "Tanh")


@dataclass(frozen=True)
class OrderPixelShuffle(Rule):
    """Give the filters of a convolution the order in which LiteRT shuffles channels into space.

        before   DepthToSpace<mode="CRD">(Conv(x, w, b))
        after    DepthToSpace<mode="DCR">(Conv(x, w[order], b[order]))

    PyTorch's PixelShuffle becomes CRD, where the places of a block stand behind the channels, and LiteRT only knows
    them in front. Activation functions and Q/DQ may stand between.

    Does not fire if the convolution is one of groups, or its parameters are computed; nor if anything between the two
    is an output of the graph, has other users, or has parameters for each channel.
    """

    name: ClassVar[str] = "order-pixel-shuffle"
    roots: ClassVar[tuple[str, ...]] = ("DepthToSpace",)

    def match(self, root: gs.Node) -> Match | None:
        if root.attrs.get("mode", "DCR") != "CRD":
            return None
        chain, node = [root.inputs[0]], producer(root.inputs[0])
        while node is not None and node.op in _BETWEEN:
            if any(np.prod(tensor.shape or [1]) != 1 for tensor in node.inputs[1:] if not tensor.is_empty()):
                return None
            chain.append(node.inputs[0])
            node = producer(node.inputs[0])
        return {"shuffle": root, "conv": node, "chain": chain} if node is not None and node.op == "Conv" else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        conv = match["conv"]
        if conv.attrs.get("group", 1) != 1:
            return Reason("the convolution has {} groups", conv.attrs["group"])
        for tensor in conv.inputs[1:]:
            if not isinstance(_stored(tensor), gs.Constant):
                return Reason("`{}` is computed", tensor.name)
        return next(filter(None, map(rewriter.not_internal, match["chain"])), None)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        shuffle, conv = match["shuffle"], match["conv"]
        places = int(shuffle.attrs["blocksize"]) ** 2
        filters = int(_stored(conv.inputs[1]).shape[0])
        order = np.arange(filters).reshape(filters // places, places).T.reshape(-1)
        for index in range(1, len(conv.inputs)):
            rewriter.set_input(conv, index, _ordered(conv, conv.inputs[index], order, rewriter))
        shuffle.attrs["mode"] = "DCR"
        rewriter.touch(shuffle)


def _stored(tensor: gs.Tensor) -> gs.Tensor:
    """The constant that a parameter is stored as."""
    node = producer(tensor, DEQUANTIZE)
    return tensor if node is None else node.inputs[0]


def _ordered(conv: gs.Node, tensor: gs.Tensor, order: np.ndarray, rewriter: Rewriter) -> gs.Tensor:
    """A parameter with its filters in another order, with the scales that belong to them."""
    if isinstance(tensor, gs.Constant):
        values = np.asarray(tensor.values)
        return rewriter.constant(f"{tensor.name}_ordered", values[order] if values.size > 1 else values)
    node = producer(tensor, DEQUANTIZE)
    assert node is not None
    inputs = [_ordered(conv, one, order, rewriter) for one in node.inputs]
    output = rewriter.variable(f"{tensor.name}_ordered", tensor.dtype, tensor.shape)
    made = gs.Node(DEQUANTIZE, name=output.name, attrs=dict(node.attrs), inputs=inputs, outputs=[output])
    rewriter.insert(made, before=conv)
    return output
