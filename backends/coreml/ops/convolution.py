"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.windows import custom_padding, interleaved
from pruna_ir.backends.coreml.table import lowers


@lowers("Conv")
def conv(op: Op) -> None:
    """conv: over one, two or three axes, as ONNX has them."""
    spatial = op.rank() - 2
    op.write(
        op(
            "conv",
            x=op.read(0),
            weight=op.read(1),
            bias=op.optional(2),
            strides=list(op.attr("strides", [1] * spatial)),
            pad_type="custom",
            pad=custom_padding(op, op.shape(1)[2:]),
            dilations=list(op.attr("dilations", [1] * spatial)),
            groups=int(op.attr("group", 1)),
        )
    )


@lowers("ConvTranspose")
def conv_transpose(op: Op) -> None:
    """conv_transpose of all there is, and a slice for what padding cuts off."""
    kernel = op.shape(1)[2:]
    strides = list(op.attr("strides", [1] * len(kernel)))
    dilations = list(op.attr("dilations", [1] * len(kernel)))
    size, results = op.shape(0)[2:], op.result_shape()[2:]
    extra = list(op.attr("output_padding", [0] * len(kernel)))
    whole = _reach(size, kernel, strides, dilations)
    before = _cut_before(op, whole, extra, results)
    after = [w - b - r for w, b, r in zip(whole, before, results, strict=True)]
    made = op(
        "conv_transpose",
        x=op.read(0),
        weight=op.read(1),
        bias=op.optional(2) if not any(number < 0 for number in after) else None,
        strides=strides,
        pad_type="custom",
        pad=[max(number, 0) for number in interleaved(before, after)],
        dilations=dilations,
        groups=int(op.attr("group", 1)),
    )
    made = _filled(op, made, after)
    if any(number < 0 for number in after) and op.has(2):  # what no window reaches is the bias alone
        made = op("add", x=made, y=op.required(2, "bias").reshape(-1, *[1] * len(kernel)).astype(np.float32))
    op.write(made)


@lowers("Col2Im")
def columns_to_image(op: Op) -> None:
    """A transposed convolution of every channel, whose filters are one at one place each."""
    image = [int(size) for size in op.required(1, "image's shape")]
    block = [int(size) for size in op.required(2, "block's shape")]
    strides = list(op.attr("strides", [1] * len(block)))
    dilations = list(op.attr("dilations", [1] * len(block)))
    pads = list(op.attr("pads", [0] * (2 * len(block))))
    before, behind = pads[: len(block)], pads[len(block) :]
    room = [size + front + back for size, front, back in zip(image, before, behind, strict=True)]
    extents = _reach([1] * len(block), block, strides, dilations)
    counts = [(n - extent) // s + 1 for n, extent, s in zip(room, extents, strides, strict=True)]
    batch, rows, _ = op.shape()
    channels = rows // math.prod(block)
    filters = np.tile(np.eye(math.prod(block)), (channels, 1)).reshape(rows, 1, *block).astype(np.float32)
    whole = _reach(counts, block, strides, dilations)
    after = [w - b - n for w, b, n in zip(whole, before, image, strict=True)]
    made = op(
        "conv_transpose",
        x=op("reshape", x=op.read(), shape=[batch, rows, *counts]),
        weight=filters,
        strides=strides,
        pad_type="custom",
        pad=[max(number, 0) for number in interleaved(before, after)],
        dilations=dilations,
        groups=channels,
    )
    op.write(_filled(op, made, after))


def _reach(size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """How far the windows of a transposed convolution go, along every spatial axis."""
    return [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)]


def _filled(op: Op, made: Any, after: Sequence[int]) -> Any:
    """With zeros behind, where less than nothing is cut off."""
    if not any(number < 0 for number in after):
        return made
    return op("pad", x=made, pad=[0] * 4 + [n for a in after for n in (0, max(-a, 0))], mode="constant")


def _cut_before(op: Op, whole: list[int], extra: list[int], results: tuple[int, ...]) -> list[int]:
    """How much is cut off in front of every spatial axis."""
    mode = op.attr("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * len(whole)
    if mode in ("NOTSET", "") and op.attr("output_shape") is None:
        return [int(pad) for pad in op.attr("pads", [0] * (2 * len(whole)))[: len(whole)]]
    more = [max(w + e - r, 0) for w, e, r in zip(whole, extra, results, strict=True)]
    return [number // 2 if mode == "SAME_UPPER" else number - number // 2 for number in more]
