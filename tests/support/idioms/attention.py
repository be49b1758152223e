"""Scaled dot-product attention written as products and a softmax, as PyTorch's exporters leave it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from idioms.builder import Builder

_HIDDEN = -1e4


@dataclass(frozen=True)
class _Sizes:
    batch: int
    queries: int
    tokens: int
    heads: int
    shared: int  # heads of the queries for each head of keys and values
    width: int


def attention(b: Builder) -> str:
    """Softmax(scale * Q K + mask) V between linear layers, with heads."""
    queries = b.size(2, 4)
    tokens = queries if b.chance(2) else b.size(2, 4)
    sizes = _Sizes(b.size(1, 2), queries, tokens, b.pick(2, 4), b.pick(1, 1, 1, 2), b.pick(2, 4))
    scale, form = b.pick(sizes.width**-0.5, sizes.width**-0.5, 0.25), b.pick("scores", "both", "none")
    apart = math.sqrt(scale) if form == "both" else None
    q = _scaled(b, _heads(b, sizes, queries, sizes.heads), apart)
    k = _scaled(b, _keys(b, sizes), apart)
    v = _repeated(b, sizes, _heads(b, sizes, tokens, sizes.heads // sizes.shared))
    scores = _scaled(b, b.between(b.op("MatMul", q, k)), scale if form == "scores" else None)
    weights = b.between(b.op("Softmax", _masked(b, sizes, scores), axis=b.pick(-1, -1, 3)))
    rows = b.between(b.op("MatMul", weights, v))
    joined = b.between(b.op("Transpose", rows, perm=[0, 2, 1, 3]))
    return b.op("Reshape", joined, b.indices(b.pick(0, -1), queries, sizes.heads * sizes.width))


def _heads(b: Builder, sizes: _Sizes, tokens: int, heads: int) -> str:
    """A linear layer's output as [batch, heads, tokens, width]."""
    split = _split(b, sizes, tokens, heads)
    return b.between(b.op("Transpose", split, perm=[0, 2, 1, 3]))


def _split(b: Builder, sizes: _Sizes, tokens: int, heads: int) -> str:
    x = b.source(sizes.batch, tokens, heads * sizes.width)
    return b.between(b.op("Reshape", x, b.indices(b.pick(0, -1), tokens, heads, sizes.width)))


def _keys(b: Builder, sizes: _Sizes) -> str:
    """The keys as [batch, heads, width, tokens]."""
    heads = sizes.heads // sizes.shared
    if sizes.shared == 1 and b.chance(2):
        return b.between(b.op("Transpose", _split(b, sizes, sizes.tokens, heads), perm=[0, 2, 3, 1]))
    rows = _repeated(b, sizes, _heads(b, sizes, sizes.tokens, heads))
    return b.between(b.op("Transpose", rows, perm=[0, 1, 3, 2]))


def _repeated(b: Builder, sizes: _Sizes, x: str) -> str:
    """Each head as often as queries' heads share it."""
    if sizes.shared == 1:
        return x
    alone = b.between(b.op("Unsqueeze", x, b.indices(2)))
    copies = b.between(b.op("Expand", alone, b.indices(1, 1, sizes.shared, 1, 1)))
    return b.op("Reshape", copies, b.indices(b.pick(0, -1), sizes.heads, sizes.tokens, sizes.width))


def _scaled(b: Builder, x: str, scale: float | None) -> str:
    if scale is None:
        return x
    if b.chance(2):
        return b.between(b.op("Div", x, b.number(1 / scale)))
    return b.between(b.op("Mul", *b.order(x, b.number(scale))))


def _masked(b: Builder, sizes: _Sizes, scores: str) -> str:
    """The scores with some of them pushed out of sight; every query sees the first token."""
    kind = b.pick("none", "sum", "causal", "fill", "input")
    if kind == "none":
        return scores
    shape = b.pick((sizes.queries, sizes.tokens), (1, 1, sizes.queries, sizes.tokens), (1, 1, 1, sizes.tokens))
    visible = np.asarray(b.random.random(shape) < 0.5)
    if kind == "causal":
        visible = np.tri(sizes.queries, sizes.tokens, dtype=bool)
    visible[..., 0] = True
    if kind == "fill":
        fill = b.number(b.pick(_HIDDEN, -np.inf), shapes=[()])
        return b.between(b.op("Where", b.constant(visible), scores, fill))
    mask = np.where(visible, 0, b.pick(_HIDDEN, -np.inf)).astype(b.dtype)
    added = b.input(mask) if kind == "input" else b.constant(mask)
    return b.between(b.op("Add", *b.order(scores, added)))


def rotary(b: Builder) -> str:
    """The rotary embedding of positions: x * cos + (x turned) * sin, with the halves of each head as coordinates."""
    tokens, heads, half, batch = b.size(2, 4), b.pick(1, 2), b.pick(1, 2, 3), b.size(1, 2)
    if b.chance(2):
        split = b.op("Reshape", b.source(batch, tokens, heads * half * 2), b.indices(0, 0, heads, half * 2))
        x = b.op("Transpose", split, perm=[0, 2, 1, 3])
    else:
        x = b.source(batch, heads, tokens, half * 2)
    shape = b.pick((1, tokens, half), (batch, tokens, half))
    sizes = b.sizes if shape[0] == batch else "static"  # a batch of one is not that of the others, by the same name
    angles = b.input(b.values(*shape), sizes) if b.chance(2) else b.constant(b.values(*shape))
    paired = b.op("Concat", angles, angles, axis=-1)
    cos, sin = (b.op("Unsqueeze", b.op(op, paired), b.indices(1)) for op in ("Cos", "Sin"))
    upper = b.between(b.op("Slice", x, b.indices(half), b.indices(b.pick(half * 2, 2**63 - 1)), b.indices(3)))
    lower = b.between(b.op("Slice", x, b.indices(0), b.indices(b.pick(half, -half)), b.indices(b.pick(3, -1))))
    turned = b.between(b.op("Concat", b.between(b.op("Neg", upper)), lower, axis=b.pick(-1, 3)))
    straight, across = (b.between(b.op("Mul", *b.order(*pair))) for pair in ((x, cos), (turned, sin)))
    return b.op("Add", *b.order(straight, across))
