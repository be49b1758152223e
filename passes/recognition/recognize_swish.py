"""x * Sigmoid(a * x) -> Swish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pruna_ir.passes.recognition.idioms import plus
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Product, Scalar, Value
from pruna_ir.pipeline.rules import Match

_X = Value("x")
_INVERSE = plus(Op("Exp", Op("Neg", Product(_X, scale=None, name="alpha"))), Scalar(1))


@dataclass(frozen=True)
class RecognizeSwish(Recognition):
    """Find Swish, x times the sigmoid of a multiple of it; it is called SiLU where that is x itself.

        before   x * Sigmoid(x)     x * Sigmoid(1.702 * x)        x / (1 + Exp(-x))
        after    Swish(x)           Swish<alpha=1.702>(x)         Swish(x)

    Does not fire below opset 24, if a tensor inside of the idiom is an output of the graph or has other users, if x is
    not float32 or float16, or if the target is slow at Swish.
    """

    name: ClassVar[str] = "recognize-swish"
    makes: ClassVar[tuple[str, int] | None] = ("Swish", 24)
    pattern: ClassVar[Pattern] = OneOf(
        Product(_X, Op("Sigmoid", Product(_X, scale=None, name="alpha"))), Op("Div", _X, _INVERSE)
    )

    def attributes(self, match: Match) -> Mapping[str, Any]:
        return {} if match["alpha"] == 1 else {"alpha": match["alpha"]}
