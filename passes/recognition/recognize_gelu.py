"""x * P(X < x) for a normal X -> Gelu."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pruna_ir.passes.recognition.idioms import plus, square
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Product, Scalar, Value
from pruna_ir.pipeline.rules import Match

_X = Value("x")
_ERF = Op("Erf", Product(_X, scale=math.sqrt(0.5)))


def _cubic(scale: float) -> Pattern:
    """The argument of the tanh: scale * (x + 0.044715 x^3)."""
    cube = OneOf(Product(Op("Pow", _X, Scalar(3)), scale=0.044715), Product(_X, _X, _X, scale=0.044715))
    ratio = plus(OneOf(Product(square(_X), scale=0.044715), Product(_X, _X, scale=0.044715)), Scalar(1))
    return OneOf(Product(plus(_X, cube), scale=scale), Product(_X, ratio, scale=scale))


_TANH = Op("Tanh", _cubic(math.sqrt(2 / math.pi)), name="tanh")
_SIGMOID = Op("Sigmoid", _cubic(math.sqrt(8 / math.pi)), name="tanh")
_FUNCTION = OneOf(_ERF, _TANH)

# (function + 1) / 2, multiplied out; Sigmoid(2 z) is (Tanh(z) + 1) / 2.
_HALVED = OneOf(plus(Product(_FUNCTION, scale=0.5), Scalar(0.5)), _SIGMOID)


@dataclass(frozen=True)
class RecognizeGelu(Recognition):
    """Find the Gaussian error linear unit, exact or in its approximation by tanh.

        before   0.5 * x * (1 + Erf(x / sqrt(2)))     0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
        after    Gelu(x)                              Gelu<approximate="tanh">(x)

    The factors may come in any order; x * Sigmoid(sqrt(8 / pi) * (x + 0.044715 * x^3)) is the approximation as well.

    Does not fire below opset 20, if a constant is another one, if a tensor inside of the idiom is an output of the
    graph or has other users, or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-gelu"
    makes: ClassVar[tuple[str, int] | None] = ("Gelu", 20)
    pattern: ClassVar[Pattern] = OneOf(Product(_X, plus(_FUNCTION, Scalar(1)), scale=0.5), Product(_X, _HALVED))

    def attributes(self, match: Match) -> Mapping[str, Any]:
        return {"approximate": "tanh"} if "tanh" in match else {}
