"""What flows between the blocks of a generated network, and the layers with weights that every block is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from idioms.builder import Builder


@dataclass(frozen=True)
class Features:
    """A tensor with a channel axis: images [n, c, h, w], rows [n, c] or tokens [n, t, c]."""

    name: str
    shape: tuple[int, ...]

    @property
    def axis(self) -> int:
        """Where the channels are."""
        return 2 if len(self.shape) == 3 else 1

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.shape[self.axis]

    def named(self, name: str, channels: int | None = None) -> Features:
        """Another tensor of this shape, or of one with another number of channels."""
        shape = list(self.shape)
        shape[self.axis] = channels or self.channels
        return Features(name, tuple(shape))


# A piece of a network: from the features that it reads to those that it gives.
Block = Callable[[Builder, Features], Features]


def conv(b: Builder, x: Features, outputs: int, group: int = 1, kernel: int | None = None) -> Features:
    """A convolution that keeps the size of the image."""
    size = kernel or b.pick(1, 3)
    weight = scaled(b, outputs, x.channels // group, size, size, fan_in=x.channels // group * size * size)
    pads = [size // 2] * 4
    return x.named(b.op("Conv", x.name, weight, *bias(b, outputs), group=group, pads=pads), outputs)


def linear(b: Builder, x: Features, outputs: int) -> Features:
    """A product over the last axis: MatMul with or without Add, or Gemm if the tensor is a matrix."""
    form = b.pick("MatMul", "MatMul", "Gemm") if len(x.shape) == 2 else "MatMul"
    if form == "MatMul":
        y = b.op("MatMul", x.name, scaled(b, x.channels, outputs, fan_in=x.channels))
        shift = bias(b, outputs)
        return x.named(b.op("Add", *b.order(y, *shift)) if shift else y, outputs)
    turned = b.chance(2)
    weight = scaled(b, *((outputs, x.channels) if turned else (x.channels, outputs)), fan_in=x.channels)
    return x.named(b.op("Gemm", x.name, weight, *bias(b, outputs), transB=int(turned)), outputs)


def layer(b: Builder, x: Features, outputs: int) -> Features:
    """The layer with weights that fits the tensor."""
    y = conv(b, x, outputs) if len(x.shape) == 4 else linear(b, x, outputs)
    return y.named(b.between(y.name))


def scaled(b: Builder, *shape: int, fan_in: int) -> str:
    """Weights that keep the size of what they are multiplied with."""
    return b.constant((b.weights(*shape) / math.sqrt(fan_in)).astype(b.dtype))


def bias(b: Builder, count: int) -> list[str]:
    """A bias, at times; often zeros, which many layers share."""
    if b.chance(3):
        return []
    return [b.constant(b.values(count) if b.chance(2) else b.values(count) * 0)]


def activation(b: Builder, x: Features) -> Features:
    """A function of each element, with a slope for each channel at times, or none."""
    kind = b.pick("", "Relu", "Relu", "Sigmoid", "Clip", "PRelu", "HardSwish", "Softplus", "LeakyRelu")
    if not kind:
        return x
    if kind == "Clip":
        return x.named(b.op("Clip", x.name, b.number(0.0, shapes=((),)), b.number(6.0, shapes=((),))))
    if kind == "HardSwish":
        return x.named(b.op("Mul", *b.order(x.name, b.op("HardSigmoid", x.name))))
    if kind == "PRelu":
        return x.named(b.op("PRelu", x.name, b.constant(b.values(*b.pick(*broadcasts(x)), low=0.1, high=0.5))))
    return x.named(b.op(kind, x.name))


def affine(b: Builder, x: Features) -> Features:
    """Arithmetic with a constant that has a number for each channel, or one for all."""
    constant = b.constant(b.values(*b.pick(*broadcasts(x)), low=0.5, high=1.5))
    op = b.pick("Mul", "Add", "Sub", "Div")
    return x.named(b.op(op, *(b.order(x.name, constant) if op in ("Mul", "Add") else (x.name, constant))))


def broadcasts(x: Features) -> tuple[tuple[int, ...], ...]:
    """Shapes of constants that fit the tensor."""
    tail = (x.channels, *(1,) * (len(x.shape) - x.axis - 1))
    return (1,), (1,) * len(x.shape), tail, (*(1,) * x.axis, *tail)
