"""Idioms around Conv, ConvTranspose, Gemm and MatMul: what is folded into their weights, or merged."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from idioms.builder import Builder


def _weight(b: Builder, *shape: int) -> str:
    return b.constant(b.weights(*shape))


def _bias(b: Builder, count: int) -> list[str]:
    return [b.constant(b.values(count))] if b.chance(2) else []


def _image(b: Builder, channels: int) -> str:
    return b.source(b.size(1, 2), channels, b.size(5, 7), b.size(5, 7))


def _window(b: Builder) -> dict[str, Any]:
    """How a kernel moves: strides, dilations and padding, in every way to write that."""
    attributes: dict[str, Any] = {"strides": [b.size(1, 2), b.size(1, 2)]}
    padding = b.pick("none", "numbers", "VALID", "SAME_UPPER", "SAME_LOWER")
    if padding == "numbers":
        attributes["pads"] = [b.size(0, 2) for _ in range(4)]
    elif padding != "none":
        attributes["auto_pad"] = padding
    if not padding.startswith("SAME") and b.chance(3):
        attributes["dilations"] = [b.size(1, 2), 1]
    return attributes


def _conv(b: Builder, x: str, channels: int, outputs: int, group: int, **attributes: Any) -> str:
    weight = _weight(b, outputs, channels // group, b.size(1, 3), b.size(1, 3))
    return b.op("Conv", x, weight, *_bias(b, outputs), group=group, **attributes)


def _norm(b: Builder, x: str, channels: int) -> str:
    parameters = [b.constant(b.weights(channels)) for _ in range(3)]
    variance = b.constant(b.values(channels, low=0.25, high=2.0))
    more = {"epsilon": 1e-2} if b.chance(3) else {}
    return b.op("BatchNormalization", x, *parameters, variance, **more)


def _affine(b: Builder, x: str, channels: int, rank: int, ops: tuple[str, ...] = ("Mul", "Add", "Sub", "Div")) -> str:
    """A product, sum, difference or quotient with a constant that broadcasts oddly."""
    spatial = (1,) * (rank - 2)
    shapes = [(), (1,), (1,) * rank, (channels, *spatial), (1, channels, *spatial), (1, *spatial), (2, 1, *spatial)]
    constant = b.constant(b.values(*b.pick(*shapes), low=0.5, high=1.5))
    op = b.pick(*ops)
    return b.op(op, *(b.order(x, constant) if op in ("Mul", "Add", "Sub") else (x, constant)))


def _groups(b: Builder) -> tuple[int, int, int]:
    """Channels in, channels out, groups."""
    return b.pick((3, 4, 1), (2, 1, 1), (4, 6, 2), (4, 4, 4), (2, 4, 2))


def conv_norm(b: Builder) -> str:
    """Conv -> BatchNormalization."""
    channels, outputs, group = _groups(b)
    return _norm(b, b.between(_conv(b, _image(b, channels), channels, outputs, group, **_window(b))), outputs)


def conv_affine(b: Builder) -> str:
    """Conv -> arithmetic with constants, once or twice."""
    channels, outputs, group = _groups(b)
    y = _conv(b, _image(b, channels), channels, outputs, group, **_window(b))
    for _ in range(b.size(1, 2)):
        y = _affine(b, b.between(y), outputs, 4)
    return y


def norm_conv(b: Builder) -> str:
    """BatchNormalization or arithmetic -> Conv or Gemm, with padding or without."""
    if b.chance(4):
        rows, channels, outputs = b.size(1, 2), b.size(2, 4), b.size(1, 4)
        x = b.source(rows, channels)
        scaled = b.between(_norm(b, x, channels) if b.chance(2) else _affine(b, x, channels, 2, ("Mul", "Add")))
        turned = b.chance(2)
        weight = _weight(b, *((outputs, channels) if turned else (channels, outputs)))
        return b.op("Gemm", scaled, weight, *_bias(b, outputs), transB=int(turned), alpha=b.pick(1.0, 0.5))
    channels, outputs, group = _groups(b)
    x = _image(b, channels)
    scaled = _norm(b, x, channels) if b.chance(2) else _affine(b, x, channels, 4)
    window = _window(b) if b.chance(2) else {}
    return _conv(b, b.between(scaled), channels, outputs, group, **window)


def scale_shift_conv(b: Builder) -> str:
    """An image that is scaled, shifted, and read by a Conv with padding."""
    channels, outputs, group = _groups(b)
    scaled = b.between(_affine(b, _image(b, channels), channels, 4, ("Mul", "Div")))
    shifted = b.between(_affine(b, scaled, channels, 4, ("Add", "Sub")))
    return _conv(b, shifted, channels, outputs, group, **_window(b))


def conv_transpose_norm(b: Builder) -> str:
    """ConvTranspose -> BatchNormalization."""
    channels, outputs, group = b.pick((3, 4, 1), (4, 6, 2), (4, 4, 4), (2, 1, 1))
    weight = _weight(b, channels, outputs // group, 2, 3)
    attributes: dict[str, Any] = {"strides": [b.size(1, 2), b.size(1, 2)], "group": group}
    if b.chance(2):
        attributes["pads"] = [0, 1, 0, 1]
    y = b.op("ConvTranspose", _image(b, channels), weight, *_bias(b, outputs), **attributes)
    return _norm(b, b.between(y), outputs)


def product_norm(b: Builder) -> str:
    """Gemm or MatMul -> BatchNormalization of its columns."""
    rows, inner, columns = b.size(1, 3), b.size(1, 4), b.size(1, 4)
    x = b.source(rows, inner)
    y = b.op("MatMul", x, _weight(b, inner, columns)) if b.chance(2) else _gemm(b, x, inner, columns)
    return _norm(b, b.between(y), columns)


def _gemm(b: Builder, x: str, inner: int, columns: int) -> str:
    turned = b.chance(2)
    weight = _weight(b, *((columns, inner) if turned else (inner, columns)))
    bias = [b.constant(b.values(*b.pick((columns,), (1, columns), (1,), ())))] if b.chance(2) else []
    return b.op("Gemm", x, weight, *bias, transB=int(turned), alpha=b.pick(1.0, 0.5), beta=b.pick(1.0, 2.0))


def matmul_add(b: Builder) -> str:
    """MatMul -> Add of a constant."""
    inner, columns = b.size(1, 4), b.size(1, 4)
    batch = (b.size(1, 2),) if b.chance(4) else ()
    y = b.between(b.op("MatMul", b.source(*batch, b.size(1, 3), inner), _weight(b, inner, columns)))
    bias = b.constant(b.weights(*b.pick((columns,), (columns,), (1, columns), (), (2, 1, columns))))
    return b.op("Add", *b.order(y, bias))


def matmul_add_between_reshapes(b: Builder) -> str:
    """Reshape -> MatMul -> Add of a constant -> Reshape."""
    groups, rows, inner, columns = b.size(1, 3), b.size(1, 3), b.size(1, 4), b.size(1, 4)
    x = b.op("Reshape", b.source(groups * rows, inner), b.constant(np.array([groups, rows, inner])))
    y = b.between(b.op("MatMul", b.between(x), _weight(b, inner, columns)))
    bias = b.constant(b.weights(*b.pick((columns,), (columns,), (1, columns), (), (groups, 1, columns))))
    y = b.between(b.op("Add", *b.order(y, bias)))
    return b.op("Reshape", y, b.constant(np.array(b.pick([rows, groups, columns], [-1, columns], [1, -1, 1, columns]))))


def pad_window(b: Builder) -> str:
    """Pad -> Conv or AveragePool."""
    channels, outputs, group = _groups(b)
    pads = [0, 0, b.size(0, 2), b.size(0, 1), 0, 0, b.size(0, 2), b.size(0, 1)]
    if b.chance(6):
        pads[1] = pads[5] = 0 if group > 1 else 1
    # What the Pad writes: nothing named, zero, or something else that only matters where values are added.
    value = b.pick([], [], [b.number(0.0, shapes=[()])], [b.number(0.5, shapes=[()])])
    mode = {"mode": "reflect"} if b.chance(6) else {}
    padded = b.between(b.op("Pad", _image(b, channels), b.indices(*pads), *value, **mode))
    if b.chance(3):
        own = [b.size(0, 1)] * 4
        return b.op(
            "AveragePool",
            padded,
            kernel_shape=[3, 3],
            pads=own,
            count_include_pad=b.size(0, 1),
            ceil_mode=int(b.chance(4)),
            strides=[b.size(1, 2)] * 2,
        )
    return _conv(b, padded, channels + pads[1] + pads[5], outputs, group, **_window(b))


def blocks(b: Builder) -> str:
    """The blocks of an image as channels."""
    return _blocks(b, b.size(1, 2), b.pick(2, 2, 3))


def _blocks(b: Builder, channels: int, block: int) -> str:
    x = b.source(b.size(1, 2), channels, 4 * block, 2 * block, bare=True)
    offsets = list(itertools.product(range(block), repeat=2))
    if b.chance():
        offsets = b.order(*offsets)
    if b.chance(8):
        offsets[0] = offsets[1]
    parts = [b.between(_strided(b, x, row, column, block)) for row, column in offsets]
    return b.op("Concat", *parts, axis=b.pick(1, 1, -3))


def focus(b: Builder) -> str:
    """The blocks of an image as channels, by Slices or at once -> Conv."""
    block, channels, outputs = b.pick(2, 2, 3), b.size(1, 2), b.size(1, 3)
    width = channels * block * block
    if b.chance(3):
        x = b.source(b.size(1, 2), channels, 4 * block, 2 * block)
        order = b.indices(*b.order(*range(width)))
        joined = b.op("Gather", b.between(b.op("SpaceToDepth", x, blocksize=block)), order, axis=b.pick(1, -3))
    else:
        joined = _blocks(b, channels, block)
    pads = b.pick([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0])
    weight = _weight(b, outputs, width, b.size(1, 2), b.size(1, 2))
    return b.op("Conv", b.between(joined), weight, *_bias(b, outputs), pads=pads, strides=[b.size(1, 2)] * 2)


def _strided(b: Builder, x: str, row: int, column: int, block: int) -> str:
    far = np.iinfo(np.int64).max
    if b.chance(2):
        ends, axes, steps = b.indices(far, far), b.indices(2, 3), b.indices(block, block)
        return b.op("Slice", x, b.indices(row, column), ends, axes, steps)
    rows = b.op("Slice", x, b.indices(row), b.indices(far), b.indices(2), b.indices(block))
    return b.op("Slice", rows, b.indices(column), b.indices(far), b.indices(3), b.indices(block))


def branches(b: Builder) -> str:
    """Convs of one tensor that are added: with kernels of 3 and 1, and perhaps a BatchNormalization or the tensor."""
    channels, group = b.pick((3, 1), (4, 2), (2, 2))
    stride = b.pick(1, 1, 2)
    x = _image(b, channels)
    large = _weight(b, channels, channels // group, 3, 3)
    pads = b.pick([1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0])
    small = b.pick(1, 1, 3)
    first = b.op("Conv", x, large, *_bias(b, channels), pads=[1] * 4, strides=[stride] * 2, group=group)
    weight = _weight(b, channels, channels // group, small, small)
    own = [0] * 4 if small == 1 else [1] * 4
    second = b.op("Conv", x, weight, *_bias(b, channels), pads=own, strides=[stride] * 2, group=group)
    total = b.op("Add", *b.order(b.between(first), b.between(second)))
    if stride == 1 and pads[0] == 1 and b.chance(2):
        third = _norm(b, x, channels) if b.chance(2) else x
        total = b.op("Add", *b.order(b.between(total), third))
    return total


def two_convs(b: Builder) -> str:
    """A Conv with a kernel of one and another Conv, in either order; between them few channels, or many."""
    channels, middle, outputs = b.size(1, 3), b.pick(1, 4, 8), b.size(1, 3)
    extents = b.order((1, 1), (b.pick(1, 3), b.pick(1, 3)))
    pads = [b.pick(0, 0, 1)] * 4 if b.chance(2) else [0] * 4
    x = _image(b, channels)
    shapes = ((middle, channels), (outputs, middle))
    for place, (shape, extent) in enumerate(zip(shapes, extents, strict=True)):
        weight = _weight(b, *shape, *extent)
        padding = pads if extent != (1, 1) else [0] * 4
        bias = [] if place == 0 and b.chance(2) else _bias(b, shape[0])
        x = b.op("Conv", x if place == 0 else b.between(x), weight, *bias, pads=padding, strides=[b.size(1, 2)] * 2)
    return x


def two_products(b: Builder) -> str:
    """MatMul or Gemm, and another one; between them few columns, or many."""
    rows, inner, middle, columns = b.size(1, 3), b.size(1, 3), b.pick(1, 4, 8), b.size(1, 3)
    x = b.source(rows, inner)
    for place, (height, width) in enumerate(((inner, middle), (middle, columns))):
        x = x if place == 0 else b.between(x)
        x = b.op("MatMul", x, _weight(b, height, width)) if b.chance(2) else _gemm(b, x, height, width)
    return x


def shared_input(b: Builder) -> list[str]:
    """Products of one tensor with several matrices, with or without terms; or Convs of it that are concatenated."""
    if b.chance(3):
        return [_convs_joined(b)]
    inner, count = b.pick(192, 200, 8), b.pick(2, 3, 3)
    kind = b.pick("MatMul", "sum", "sum", "Gemm")
    batch = (b.size(1, 2),) if kind != "Gemm" and b.chance(2) else ()
    x = b.source(*batch, b.size(1, 3), inner)
    ends = []
    for _ in range(count):
        columns = b.pick(2, 2, 3)
        if kind == "Gemm":
            ends.append(b.op("Gemm", x, _weight(b, inner, columns), b.constant(b.weights(columns))))
            continue
        y = b.op("MatMul", x, _weight(b, inner, columns))
        term = kind == "sum" and not b.chance(6)
        ends.append(b.op("Add", *b.order(b.between(y), b.constant(b.weights(columns)))) if term else y)
    return ends


def _convs_joined(b: Builder) -> str:
    channels, extent, bias = b.pick(192, 24), b.pick(1, 3), b.chance(2)
    x = b.source(b.size(1, 2), channels, 4, 4)
    parts = []
    for _ in range(b.size(2, 3)):
        outputs = b.size(1, 2)
        terms = [b.constant(b.weights(outputs))] if bias else []
        parts.append(b.between(b.op("Conv", x, _weight(b, outputs, channels, extent, extent), *terms)))
    return b.op("Concat", *parts, axis=1)


def scale_behind(b: Builder) -> str:
    """A linear node -> nodes that move values, add constants or multiply with another tensor -> a scale."""
    batch, rows, inner, columns = b.size(1, 2), b.size(2, 3), b.size(1, 3), b.pick(2, 4)
    x = b.op("MatMul", b.source(batch, rows, inner), _weight(b, inner, columns))
    width = columns
    for _ in range(b.size(0, 3)):
        kind = b.pick("Transpose", "Reshape", "Add", "MatMul")
        if kind == "Transpose":
            x, rows, width = b.op("Transpose", b.between(x), perm=[0, 2, 1]), width, rows
        elif kind == "Reshape":
            x = b.op("Reshape", b.between(x), b.indices(-1, rows * width, 1))
            rows, width = rows * width, 1
        elif kind == "Add":
            x = b.op("Add", *b.order(b.between(x), b.constant(b.weights(*b.pick((width,), (), (rows, 1))))))
        else:
            x, width = b.op("MatMul", b.between(x), b.source(batch, width, 2)), 2
    scale = b.constant(b.weights(*b.pick((), (), (1,), (width,), (rows, 1))) * b.dtype.type(b.pick(1.0, 0.125)))
    return b.op("Mul", *b.order(b.between(x), scale))
