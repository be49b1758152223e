"""Blocks on images [n, c, h, w]. Each takes and gives features; what it adds to the graph is its name."""

from __future__ import annotations

import numpy as np
from idioms.builder import Builder

from prunable.features import Block, Features, activation, affine, conv, layer

EVEN = (4, 6, 8)


def plain(b: Builder, x: Features) -> Features:
    """Convolution, normalization, activation."""
    return activation(b, norm(b, conv(b, x, b.pick(*EVEN, 5))))


def norm(b: Builder, x: Features) -> Features:
    """BatchNormalization, InstanceNormalization, arithmetic, or none."""
    kind = b.pick("", "BatchNormalization", "InstanceNormalization", "affine")
    if not kind:
        return x
    if kind == "affine":
        return affine(b, x)
    parameters = [b.constant(b.values(x.channels, low=0.5, high=1.5)) for _ in range(2)]
    if kind == "BatchNormalization":
        parameters += [b.constant(b.values(x.channels)), b.constant(b.values(x.channels, low=0.5, high=1.5))]
    return x.named(b.op(kind, x.name, *parameters))


def residual(b: Builder, x: Features) -> Features:
    """Two convolutions beside a shortcut, which has a convolution where the number of channels changes."""
    outputs = x.channels if b.chance(2) else b.pick(*EVEN)
    inner = layer(b, activation(b, conv(b, x, b.pick(*EVEN))), outputs)
    shortcut = x if outputs == x.channels and not b.chance(4) else conv(b, x, outputs, kernel=1)
    return activation(b, inner.named(b.op("Add", *b.order(inner.name, shortcut.name))))


def grouped(b: Builder, x: Features) -> Features:
    """A grouped convolution between two others, so that both of its sides may be cut."""
    group = b.pick(2, 4)
    inner = activation(b, conv(b, x, group * b.size(1, 3)))
    return activation(b, conv(b, inner, group * b.size(1, 3), group))


def depthwise(b: Builder, x: Features) -> Features:
    """One filter, or several, for each channel."""
    inner = activation(b, conv(b, x, b.pick(*EVEN)))
    return activation(b, conv(b, inner, inner.channels * b.pick(1, 1, 2), inner.channels))


def concat(b: Builder, x: Features) -> Features:
    """Branches side by side; the input may be one of them, or come twice."""
    branches = b.order(x, conv(b, x, b.pick(*EVEN)), *([x] if b.chance(4) else []))
    name = b.op("Concat", *(branch.name for branch in branches), axis=b.pick(1, -3))
    return x.named(b.between(name), sum(branch.channels for branch in branches))


def dense(b: Builder, x: Features) -> Features:
    """Every layer reads all that came before, normalized."""
    for _ in range(2):
        grown = conv(b, activation(b, norm(b, x)), 4)
        x = x.named(b.op("Concat", x.name, grown.name, axis=1), x.channels + 4)
    return x


def split(b: Builder, x: Features) -> Features:
    """Halves, or parts of other sizes, of which one goes through a convolution."""
    inner = conv(b, x, b.pick(*EVEN))
    sizes = [inner.channels // 2] * 2 if b.chance(2) else [1, inner.channels - 1]
    parts = b.ops("Split", inner.name, b.indices(*sizes), outputs=2, axis=1)
    kept, changed = (inner.named(name, size) for name, size in zip(parts, sizes, strict=True))
    other = activation(b, conv(b, changed, b.pick(changed.channels, 4)))
    return x.named(b.op("Concat", kept.name, other.name, axis=1), kept.channels + other.channels)


def gate(b: Builder, x: Features) -> Features:
    """Squeeze and excitation."""
    inner = conv(b, x, b.pick(*EVEN))
    squeezed = b.op("GlobalAveragePool", inner.name) if b.chance(2) else b.axes_op("ReduceMean", inner.name, [2, 3])
    small = activation(b, conv(b, Features(squeezed, (*inner.shape[:2], 1, 1)), 2, kernel=1))
    opened = b.op(b.pick("Sigmoid", "HardSigmoid"), conv(b, small, inner.channels, kernel=1).name)
    return inner.named(b.op("Mul", *b.order(inner.name, opened)))


def shuffle(b: Builder, x: Features) -> Features:
    """The channels of several groups, in turn."""
    group = b.pick(2, 2, 3)
    inner = conv(b, x, group * b.size(2, 4))
    n, c, h, w = inner.shape
    apart = b.op("Reshape", inner.name, b.indices(b.pick(n, 0), group, c // group, h, w))
    turned = b.op("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return inner.named(b.op("Reshape", turned, b.indices(n, b.pick(c, -1), h, w)))


def group_norm(b: Builder, x: Features) -> Features:
    """GroupNorm as exporters write it before opset 18."""
    inner = conv(b, x, b.pick(4, 8))
    n, c, h, w = inner.shape
    group = b.pick(2, 4)
    ones, zeros = (b.constant(np.full(group, value, b.dtype)) for value in (1, 0))
    apart = b.op("Reshape", inner.name, b.indices(0, group, -1))
    normal = b.op("Reshape", b.op("InstanceNormalization", apart, ones, zeros), b.indices(n, c, h, w))
    return affine(b, inner.named(normal))


def select(b: Builder, x: Features) -> Features:
    """Some of the channels, by Slice or Gather."""
    inner = conv(b, x, b.pick(*EVEN))
    if b.chance(2):
        start, step = b.size(0, 1), b.size(1, 2)
        name = b.op("Slice", inner.name, *(b.indices(value) for value in (start, inner.channels, 1, step)))
        return inner.named(name, len(range(start, inner.channels, step)))
    indices = [b.size(-1, inner.channels - 1) for _ in range(b.size(2, 4))]
    return inner.named(b.op("Gather", inner.name, b.indices(*indices), axis=1), len(indices))


def blocks(b: Builder, x: Features) -> Features:
    """Pixels to channels, or channels to pixels."""
    inner = conv(b, x, b.pick(4, 8))
    n, c, h, w = inner.shape
    if h > 2 and b.chance(2):
        return Features(b.op("SpaceToDepth", inner.name, blocksize=2), (n, 4 * c, h // 2, w // 2))
    mode = b.pick("DCR", "CRD")
    return conv(b, Features(b.op("DepthToSpace", inner.name, blocksize=2, mode=mode), (n, c // 4, 2 * h, 2 * w)), 4)


def spatial(b: Builder, x: Features) -> Features:
    """What changes the size of the image or fills its border, channel by channel."""
    kind = b.pick("MaxPool", "AveragePool", "Pad", "Resize")
    if kind == "Pad":
        pads = b.indices(0, 0, 1, 1, 0, 0, 1, 1)
        padded = b.op("Pad", x.name, pads, b.number(b.pick(0.0, 0.5), shapes=((),)))
        return x.named(b.op("AveragePool", padded, kernel_shape=[3, 3]))
    if kind == "Resize":
        # Not a constant that may stand for another: its numbers matter.
        scales = b.op("Constant", value_floats=[1.0, 1.0, 2.0, 2.0])
        larger = b.op("Resize", x.name, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
        return x.named(b.op("MaxPool", larger, kernel_shape=[2, 2], strides=[2, 2]))
    return x.named(b.op(kind, x.name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))


def transposed(b: Builder, x: Features) -> Features:
    """ConvTranspose, whose weight has the outputs on its second axis."""
    group = b.pick(1, 1, 2)
    inner = activation(b, conv(b, x, 4))
    outputs = group * b.size(2, 3)
    weight = b.constant(b.weights(4, outputs // group, 3, 3) / np.sqrt(np.array(9 * 4, b.dtype)))
    return inner.named(b.op("ConvTranspose", inner.name, weight, group=group, pads=[1] * 4), outputs)


BLOCKS: tuple[Block, ...] = (
    plain,
    residual,
    grouped,
    depthwise,
    concat,
    dense,
    split,
    gate,
    shuffle,
    group_norm,
    select,
    blocks,
    spatial,
    transposed,
)
