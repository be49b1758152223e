"""Convolutions."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.windows import custom_padding
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
    spatial = len(kernel)
    strides = list(op.attr("strides", [1] * spatial))
    dilations = list(op.attr("dilations", [1] * spatial))
    size, results = op.shape(0)[2:], op.result_shape()[2:]
    extra = list(op.attr("output_padding", [0] * spatial))
    whole = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(size, strides, kernel, dilations, strict=True)]
    before = _cut_before(op, whole, extra, results)
    after = [w - b - r for w, b, r in zip(whole, before, results, strict=True)]
    pads = [max(number, 0) for pair in zip(before, after, strict=True) for number in pair]
    made = op(
        "conv_transpose",
        x=op.read(0),
        weight=op.read(1),
        bias=op.optional(2) if not any(number < 0 for number in after) else None,
        strides=strides,
        pad_type="custom",
        pad=pads,
        dilations=dilations,
        groups=int(op.attr("group", 1)),
    )
    if any(number < 0 for number in after):  # results that no window reaches: the bias alone
        made = op("pad", x=made, pad=[0] * 4 + [n for a in after for n in (0, max(-a, 0))], mode="constant")
        if op.has(2):
            made = op("add", x=made, y=op.required(2, "bias").reshape(-1, *[1] * spatial).astype(np.float32))
    op.write(made)


def _cut_before(op: Op, whole: list[int], extra: list[int], results: tuple[int, ...]) -> list[int]:
    """How much is cut off in front of every spatial axis."""
    mode = op.attr("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * len(whole)
    if mode in ("NOTSET", "") and op.attr("output_shape") is None:
        return [int(pad) for pad in op.attr("pads", [0] * (2 * len(whole)))[: len(whole)]]
    more = [max(w + e - r, 0) for w, e, r in zip(whole, extra, results, strict=True)]
    return [number // 2 if mode == "SAME_UPPER" else number - number // 2 for number in more]
