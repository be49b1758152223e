"""Pieces of idioms, each in the forms that exporters write."""

from __future__ import annotations

from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Scalar


def plus(left: Pattern, right: Pattern) -> Pattern:
    """The sum of two."""
    return Op(("Add", "Sum"), left, right)


def square(base: Pattern) -> Pattern:
    """The second power."""
    return OneOf(Op("Mul", base, base), Op("Pow", base, Scalar(2)))


def root(base: Pattern) -> Pattern:
    """The square root."""
    return OneOf(Op("Sqrt", base), Op("Pow", base, Scalar(0.5)))


def inverse_root(base: Pattern) -> Pattern:
    """One over the square root."""
    return OneOf(Op("Reciprocal", root(base)), Op("Div", Scalar(1), root(base)), Op("Pow", base, Scalar(-0.5)))


def over_root(numerator: Pattern, base: Pattern) -> Pattern:
    """A quotient by a square root."""
    return OneOf(Op("Div", numerator, root(base)), Op("Mul", numerator, inverse_root(base)))


def clipped(base: Pattern, low: Pattern, high: Pattern) -> Pattern:
    """A value between two limits, the lower of which is not above the upper one."""
    return OneOf(
        Op("Clip", base, low, high),
        Op("Min", Op("Max", base, low), high),
        Op("Max", Op("Min", base, high), low),
        Op("Min", Op("Relu", base), high),
    )
