"""x / (Abs(x) + 1) -> Softsign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pruna_ir.passes.recognition.idioms import plus
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import Op, Pattern, Scalar, Value

_X = Value("x")


@dataclass(frozen=True)
class RecognizeSoftsign(Recognition):
    """Find the softsign.

        before   x / (Abs(x) + 1)
        after    Softsign(x)

    Does not fire if the term is not 1, if a tensor inside of the idiom is an output of the graph or has other users,
    or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-softsign"
    makes: ClassVar[tuple[str, int] | None] = ("Softsign", 1)
    pattern: ClassVar[Pattern] = Op("Div", _X, plus(Op("Abs", _X), Scalar(1)))
