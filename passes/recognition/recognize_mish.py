"""x * Tanh(Softplus(x)) -> Mish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import Op, Pattern, Product, Value

_X = Value("x")


@dataclass(frozen=True)
class RecognizeMish(Recognition):
    """Find Mish, x times the tanh of its softplus.

        before   x * Tanh(Softplus(x))
        after    Mish(x)

    Does not fire below opset 18, if a tensor inside of the idiom is an output of the graph or has other users, or if x
    is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-mish"
    makes: ClassVar[tuple[str, int] | None] = ("Mish", 18)
    pattern: ClassVar[Pattern] = Product(_X, Op("Tanh", Op("Softplus", _X)))
