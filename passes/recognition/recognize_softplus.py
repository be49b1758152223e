"""Log(Exp(x) + 1) -> Softplus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pruna_ir.passes.recognition.idioms import plus
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import Op, Pattern, Scalar, Value


@dataclass(frozen=True)
class RecognizeSoftplus(Recognition):
    """Find the softplus, the smooth form of Relu.

        before   Log(Exp(x) + 1)
        after    Softplus(x)     which stays finite where Exp(x) does not

    Does not fire if the term is not 1, if a tensor inside of the idiom is an output of the graph or has other users,
    if x is not float32 or float16, or if the target is slow at Softplus.
    """

    name: ClassVar[str] = "recognize-softplus"
    makes: ClassVar[tuple[str, int] | None] = ("Softplus", 1)
    pattern: ClassVar[Pattern] = Op("Log", plus(Op("Exp", Value("x")), Scalar(1)))
