"""The attributes of a Conv with their defaults, and its padding as numbers."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.remarks import Reason


def kernel(conv: gs.Node) -> tuple[int, ...]:
    """Size of the kernel along each spatial axis: the weight is [channels, inputs / group, kernel...]."""
    return tuple(conv.inputs[1].shape[2:])


def per_axis(node: gs.Node, attribute: str, rank: int) -> tuple[int, ...]:
    """An attribute with one number per spatial axis (strides, dilations), which is 1 by default."""
    return tuple(node.attrs.get(attribute, (1,) * rank))


def group(conv: gs.Node) -> int:
    """Number of groups that the channels are divided into."""
    return int(conv.attrs.get("group", 1))


def padding(conv: gs.Node) -> tuple[int, ...] | Reason:
    """Zeros that a Conv adds before each spatial axis, then those after each, whichever way it states them.

    `SAME_UPPER` and `SAME_LOWER` mean as many as give ceil(size / stride) outputs; where they depend on a size that
    is not known, a reason.
    """
    if conv.inputs[1].shape is None:
        return Reason("the shape of `{}` is not known", conv.inputs[1].name)
    mode, rank = conv.attrs.get("auto_pad", "NOTSET"), len(kernel(conv))
    if mode == "NOTSET":
        return tuple(conv.attrs.get("pads", (0,) * 2 * rank))
    if mode == "VALID":
        return (0,) * 2 * rank
    sizes = (conv.inputs[0].shape or [None] * (rank + 2))[2:]
    if any(not isinstance(size, int) for size in sizes) or set(per_axis(conv, "dilations", rank)) != {1}:
        return Reason("the padding of `{}` is {}, which is not known as numbers", node_name(conv), mode)
    before, after = [], []
    for size, extent, stride in zip(sizes, kernel(conv), per_axis(conv, "strides", rank), strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        before.append(total // 2 if mode == "SAME_UPPER" else total - total // 2)
        after.append(total - before[-1])
    return (*before, *after)


def set_padding(conv: gs.Node, pads: tuple[int, ...]) -> None:
    """Let a Conv add these zeros, given as `padding` returns them."""
    conv.attrs.pop("auto_pad", None)
    conv.attrs["pads"] = list(pads)
