"""Activation functions written as arithmetic, in the forms that exporters leave."""

from __future__ import annotations

import math

from idioms.builder import Builder


def _input(b: Builder) -> str:
    return b.source(b.size(1, 3), b.size(2, 5), low=-4, high=4)


def _product(b: Builder, *factors: str) -> str:
    """Factors multiplied in any order."""
    first, *others = b.order(*factors)
    for factor in others:
        first = b.op("Mul", *b.order(b.between(first), factor))
    return first


def _plus(b: Builder, x: str, value: float) -> str:
    """A sum with a constant, at times not quite the right one."""
    return b.op("Add", *b.order(x, b.number(_nearly(b, value))))


def _scaled(b: Builder, x: str, value: float) -> str:
    """A product with a constant, or a quotient by its inverse."""
    value = _nearly(b, value)
    if b.chance(2):
        return b.op("Div", x, b.number(1 / value))
    return b.op("Mul", *b.order(x, b.number(value)))


def _nearly(b: Builder, value: float) -> float:
    return b.pick(*[value] * 11, value * 1.125)


def gelu(b: Builder) -> str:
    """x times the share of a normal distribution below x: by erf, or by tanh or sigmoid of a cubic."""
    x = _input(b)
    kind = b.pick("erf", "tanh", "sigmoid")
    if kind == "sigmoid":
        return b.op("Mul", *b.order(x, b.between(b.op("Sigmoid", b.between(_cubic(b, x, math.sqrt(8 / math.pi)))))))
    if kind == "erf":
        inner = b.op("Erf", b.between(_scaled(b, x, math.sqrt(0.5))))
    else:
        inner = b.op("Tanh", b.between(_cubic(b, x, math.sqrt(2 / math.pi))))
    if b.chance(4):
        return b.op("Mul", *b.order(x, _plus(b, _scaled(b, b.between(inner), 0.5), 0.5)))
    one_more = b.between(_plus(b, inner, 1.0))
    form = b.pick("product", "half last", "half first")
    if form == "product":
        return _product(b, x, one_more, b.number(0.5))
    if form == "half last":
        return _scaled(b, b.between(_product(b, x, one_more)), 0.5)
    return _product(b, b.between(_scaled(b, x, 0.5)), one_more)


def _cubic(b: Builder, x: str, scale: float) -> str:
    if b.chance(3):
        square = b.between(_scaled(b, _product(b, x, x), 0.044715))
        return _scaled(b, _product(b, x, _plus(b, square, 1.0)), scale)
    cube = b.op("Pow", x, b.number(3.0)) if b.chance(2) else _product(b, x, x, x)
    return _scaled(b, b.between(b.op("Add", *b.order(x, _scaled(b, b.between(cube), 0.044715)))), scale)


def swish(b: Builder) -> str:
    """x times the sigmoid of a multiple of it."""
    x = _input(b)
    scaled = x if b.chance(2) else _scaled(b, x, 1.702)
    if b.chance(3):
        return b.op("Div", x, b.between(_plus(b, b.op("Exp", b.between(b.op("Neg", scaled))), 1.0)))
    return _product(b, x, b.between(b.op("Sigmoid", scaled)))


def mish(b: Builder) -> str:
    """x times the tanh of its softplus."""
    x = _input(b)
    return _product(b, x, b.between(b.op("Tanh", b.between(b.op("Softplus", x)))))


def softplus(b: Builder) -> str:
    """The logarithm of one more than the exponential."""
    return b.op("Log", b.between(_plus(b, b.between(b.op("Exp", _input(b))), 1.0)))


def softsign(b: Builder) -> str:
    """x over one more than its absolute value."""
    x = _input(b)
    return b.op("Div", x, b.between(_plus(b, b.between(b.op("Abs", x)), 1.0)))


def _cut(b: Builder, x: str, high: float) -> str:
    """A value between 0 and another number."""
    zero, limit = (b.number(value, shapes=[()]) for value in (0.0, high))
    form = b.pick("Clip", "Min", "Max", "Relu")
    if form == "Clip":
        return b.op("Clip", x, zero, limit)
    if form == "Min":
        return b.op("Min", b.between(b.op("Max", x, zero)), limit)
    if form == "Max":
        return b.op("Max", b.between(b.op("Min", x, limit)), zero)
    return b.op("Min", b.between(b.op("Relu", x)), limit)


def hard_sigmoid(b: Builder) -> str:
    """A line that is cut off at 0 and 1."""
    x = _input(b)
    if b.chance(2):
        return _scaled(b, b.between(_cut(b, b.between(_plus(b, x, 3.0)), 6.0)), 1 / 6)
    return _cut(b, b.between(_plus(b, b.between(_scaled(b, x, b.pick(0.2, 1 / 6))), 0.5)), 1.0)


def hard_swish(b: Builder) -> str:
    """x times its hard sigmoid."""
    x = _input(b)
    if b.chance(2):
        alpha = b.pick(1 / 6, 1 / 6, 0.2)
        return b.op("Mul", *b.order(x, b.between(b.op("HardSigmoid", x, alpha=alpha, beta=0.5))))
    cut = b.between(_cut(b, b.between(_plus(b, x, 3.0)), 6.0))
    if b.chance(2):
        return _scaled(b, b.between(_product(b, x, cut)), 1 / 6)
    return _product(b, x, b.between(_scaled(b, cut, 1 / 6)))


def unlimited_softplus(b: Builder) -> str:
    """Softplus as PyTorch writes it: x itself above a threshold."""
    x = b.source(b.size(1, 3), b.size(2, 5), low=-30, high=30)
    above = b.op("Greater", x, b.number(b.pick(20.0, 20.0, 25.0, 5.0)))
    return b.op("Where", above, x, b.between(b.op("Softplus", x)))
