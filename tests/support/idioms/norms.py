"""Normalizations written as arithmetic, and what follows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idioms.builder import Builder


def _reduce(b: Builder, op: str, x: str, axes: Sequence[int]) -> str:
    return b.axes_op(op, x, axes, keepdims=1)


def _square(b: Builder, x: str) -> str:
    return b.op("Mul", x, x) if b.chance(2) else b.op("Pow", x, b.number(2.0))


def _over_root(b: Builder, x: str, variance: str) -> str:
    """x over the root of the variance and a little more."""
    shifted = b.between(b.op("Add", *b.order(variance, b.number(b.pick(1e-5, 1e-3)))))
    if b.chance(4):
        return b.op("Mul", *b.order(x, b.between(b.op("Pow", shifted, b.number(-0.5)))))
    root = b.between(b.op("Sqrt", shifted))
    form = b.pick("Div", "Reciprocal", "inverse")
    if form == "Div":
        return b.op("Div", x, root)
    inverse = b.op("Reciprocal", root) if form == "Reciprocal" else b.op("Div", b.number(1.0), root)
    return b.op("Mul", *b.order(x, b.between(inverse)))


def _standardized(b: Builder, x: str, axes: Sequence[int]) -> str:
    """x without its mean, over its standard deviation."""
    mean = b.between(_reduce(b, "ReduceMean", x, axes))
    centered = b.between(b.op("Sub", x, mean))
    if b.chance(4):
        squares = b.between(_reduce(b, "ReduceMean", _square(b, x), axes))
        return _over_root(b, centered, b.op("Sub", squares, _square(b, mean)))
    other = b.op("Sub", x, mean) if b.chance(5) else centered
    return _over_root(b, centered, b.between(_reduce(b, "ReduceMean", b.between(_square(b, other)), axes)))


def _affine(b: Builder, x: str, shape: Sequence[int]) -> str:
    """A scale and a shift, either of which may be missing."""
    if b.chance(2):
        x = b.op("Mul", *b.order(x, b.constant(b.values(*shape, low=0.5, high=1.5))))
    if b.chance(2):
        x = b.op("Add", *b.order(b.between(x), b.constant(b.values(*shape))))
    return x


def _rows(b: Builder) -> tuple[str, list[int], list[int]]:
    """A tensor, its last axes (at times others), and their sizes."""
    sizes = [b.size(4, 6) for _ in range(b.size(1, 2))]
    x = b.source(b.size(1, 2), b.size(2, 3), *sizes)
    axes = [axis - len(sizes) for axis in range(len(sizes))]
    if b.chance(8):
        axes = [1]
    elif b.chance(2):
        axes = [axis + 2 + len(sizes) for axis in axes]
    return x, axes, sizes


def layer_norm(b: Builder) -> str:
    """Over the last axes, with or without scale and bias."""
    x, axes, sizes = _rows(b)
    return _affine(b, b.between(_standardized(b, x, axes)), sizes)


def rms_norm(b: Builder) -> str:
    """Over the last axes, the mean left where it is."""
    x, axes, sizes = _rows(b)
    squares = b.between(_reduce(b, "ReduceMean", b.between(_square(b, x)), axes))
    return _affine(b, b.between(_over_root(b, x, squares)), sizes)


def instance_norm(b: Builder) -> str:
    """Over the axes behind the channels."""
    channels, rank = b.size(1, 3), b.pick(4, 4, 3)
    x = b.source(b.size(1, 2), channels, *(b.size(4, 5) for _ in range(rank - 2)))
    axes = list(range(2, rank)) if b.chance(2) else list(range(2 - rank, 0))
    return _affine(b, b.between(_standardized(b, x, axes)), (channels, *[1] * (rank - 2)))


def norm_affine(b: Builder) -> str:
    """A normalization -> arithmetic with constants."""
    kind = b.pick(*[op for op, since in _NORMS.items() if since <= b.opset])
    channels, width = b.size(2, 4), b.size(4, 6)
    per_channel = kind in ("InstanceNormalization", "GroupNormalization")
    size = channels if per_channel else width
    parameters = [b.constant(b.values(size, low=0.5, high=1.5))]
    if kind != "RMSNormalization" and (per_channel or b.chance(2)):
        parameters.append(b.constant(b.values(size)))
    more = {"num_groups": 1} if kind == "GroupNormalization" else {}
    x = b.op(kind, b.source(b.size(1, 2), channels, width), *parameters, **more)
    shapes = [(size, 1) if per_channel else (size,), (1, channels, 1) if per_channel else (1, width), (), (width,)]
    for _ in range(b.size(1, 2)):
        op = b.pick("Mul", "Add", "Sub", "Div")
        constant = b.constant(b.values(*b.pick(*shapes), low=0.5, high=1.5))
        x = b.op(op, *(b.order(b.between(x), constant) if op != "Div" else (b.between(x), constant)))
    return x


_NORMS = {"InstanceNormalization": 13, "LayerNormalization": 17, "GroupNormalization": 21, "RMSNormalization": 23}


def group_norm(b: Builder) -> str:
    """Groups of channels as the channels of an InstanceNormalization, as PyTorch writes it."""
    groups, width = b.pick(2, 3), b.pick(2, 2, 1)
    shape = (b.size(1, 2), groups * width, b.size(2, 3), b.size(2, 3))
    x = b.source(*shape)
    joined = b.between(b.op("Reshape", x, b.indices(0, groups, b.pick(-1, -1, width * shape[2] * shape[3]))))
    ones, zeros = b.constant(np.ones(groups, b.dtype)), b.constant(np.zeros(groups, b.dtype))
    if b.chance(4):
        ones = b.constant(b.weights(groups))
    norm = b.between(b.op("InstanceNormalization", joined, ones, zeros, epsilon=b.pick(1e-5, 1e-3)))
    back = b.op("Shape", x) if b.chance(2) else b.indices(b.pick(0, -1), *shape[1:])
    return _affine(b, b.between(b.op("Reshape", norm, back)), (shape[1], 1, 1))


def l2_norm(b: Builder) -> str:
    """Vectors scaled to length one, with or without a limit on how short they may be."""
    x = b.source(b.size(1, 3), b.size(2, 4), b.size(2, 4), low=0.5, high=2.0)
    axes = b.pick([1], [2], [-1], [1, 2])
    form = b.pick("ReduceL2", "ReduceSumSquare", "ReduceSum")
    since = 13 if form == "ReduceSum" else 18
    of = _square(b, x) if form == "ReduceSum" else x
    length = b.between(b.axes_op(form, of, axes, since=since, keepdims=1))
    if form != "ReduceL2":
        length = b.between(b.op("Sqrt", length))
    if b.chance(6):
        length = b.op("Clip", length, b.number(1e-12, shapes=[()]))
    return b.op("Div", x, length)
