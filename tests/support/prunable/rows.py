"""Blocks on rows [n, c] and tokens [n, t, c], and the ways from one form of tensor to another."""

from __future__ import annotations

import math

from idioms.builder import Builder

from prunable.features import Block, Features, activation, linear


def perceptron(b: Builder, x: Features) -> Features:
    """A linear layer and an activation."""
    return activation(b, linear(b, x, b.pick(4, 6)))


def normalized(b: Builder, x: Features) -> Features:
    """A normalized perceptron beside a shortcut."""
    inner = linear(b, perceptron(b, norm(b, x)), x.channels)
    return x.named(b.between(b.op("Add", *b.order(x.name, inner.name))))


def norm(b: Builder, x: Features) -> Features:
    """LayerNorm over the channels, as one operator or as several; at times RMS norm."""
    scale = b.constant(b.values(x.channels, low=0.5, high=1.5))
    shift = b.constant(b.values(x.channels))
    if b.opset >= 17 and b.chance(2):
        return x.named(b.op("LayerNormalization", x.name, scale, shift, axis=-1))
    centered = x.name
    if not b.chance(4):
        centered = b.op("Sub", x.name, b.axes_op("ReduceMean", x.name, [-1]))
    variance = b.axes_op("ReduceMean", b.op("Mul", centered, centered), [-1])
    root = b.op("Sqrt", b.op("Add", variance, b.number(1e-3, shapes=((),))))
    return x.named(b.op("Add", b.op("Mul", b.op("Div", centered, root), scale), shift))


def gated(b: Builder, x: Features) -> Features:
    """SwiGLU: two projections, apart or packed in one."""
    width = b.size(2, 4)
    if b.chance(2):
        sides = [linear(b, x, width).name for _ in range(2)]
    else:
        sides = b.ops("Split", linear(b, x, 2 * width).name, b.indices(width, width), outputs=2, axis=-1)
    opened = b.op("Mul", sides[0], b.op("Sigmoid", sides[0]))
    return linear(b, x.named(b.op("Mul", opened, sides[1]), width), b.pick(4, x.channels))


def attention(b: Builder, x: Features) -> Features:
    """Attention of several heads; q, k and v from a projection each, or from one."""
    if len(x.shape) != 3:
        return perceptron(b, x)
    heads, width = b.pick(1, 2), b.size(2, 3)
    inner = heads * width
    if b.chance(2):
        parts = [linear(b, x, inner).name for _ in range(3)]
    else:
        parts = b.ops("Split", linear(b, x, 3 * inner).name, b.indices(inner, inner, inner), outputs=3, axis=-1)
    n, t, _ = x.shape
    q, k, v = (b.op("Reshape", part, b.indices(0, t, heads, b.pick(width, -1))) for part in parts)
    scores = b.op("MatMul", b.op("Transpose", q, perm=[0, 2, 1, 3]), b.op("Transpose", k, perm=[0, 2, 3, 1]))
    scores = b.op("Mul", scores, b.number(1 / math.sqrt(width), shapes=((),)))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), b.op("Transpose", v, perm=[0, 2, 1, 3]))
    joined = b.op("Reshape", b.op("Transpose", mixed, perm=[0, 2, 1, 3]), b.indices(n, t, inner))
    out = linear(b, x.named(joined, inner), x.channels)
    return x.named(b.op("Add", *b.order(out.name, x.name)))


def flatten(b: Builder, x: Features) -> Features:
    """Images to rows: every pixel of a channel beside the others, or one number for a channel."""
    n, c, h, w = x.shape
    kind = b.pick("Flatten", "Reshape", "pool", "mean")
    if kind == "pool":
        return Features(b.op("Flatten", b.op("GlobalAveragePool", x.name)), (n, c))
    if kind == "mean":
        return Features(b.axes_op("ReduceMean", x.name, [2, 3], keepdims=0), (n, c))
    small = b.op("AveragePool", x.name, kernel_shape=[h // 2, w // 2], strides=[h // 2, w // 2])
    flat = b.op("Flatten", small) if kind == "Flatten" else b.op("Reshape", small, b.indices(n, b.pick(-1, 4 * c)))
    return Features(flat, (n, 4 * c))


def tokens(b: Builder, x: Features) -> Features:
    """Images to tokens: every pixel is one."""
    n, c, h, w = x.shape
    if b.chance(2):
        flat = b.op("Reshape", x.name, b.indices(0, b.pick(0, c), -1))
        return Features(b.op("Transpose", flat, perm=[0, 2, 1]), (n, h * w, c))
    last = b.op("Transpose", x.name, perm=[0, 2, 3, 1])
    return Features(b.op("Reshape", last, b.indices(n, h * w, b.pick(-1, c))), (n, h * w, c))


def pooled(b: Builder, x: Features) -> Features:
    """Tokens to rows: the first, or the mean of all."""
    n, _, c = x.shape
    if b.chance(2):
        return Features(b.op("Squeeze", b.op("Gather", x.name, b.indices(0), axis=1), b.indices(1)), (n, c))
    return Features(b.axes_op("ReduceMean", x.name, [1], keepdims=0), (n, c))


def unflatten(b: Builder, x: Features) -> Features:
    """Rows to images of four pixels."""
    n, _ = x.shape
    wide = linear(b, x, 4 * b.size(2, 3))
    c = wide.channels // 4
    return Features(b.op("Reshape", wide.name, b.indices(n, b.pick(c, -1), 2, 2)), (n, c, 2, 2))


BLOCKS: tuple[Block, ...] = (perceptron, normalized, gated, attention)
