"""x above a threshold, softplus below it -> Softplus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pruna_ir.passes.recognition.recognition import Recognition, elementwise
from pruna_ir.pipeline.patterns import Op, Pattern, Scalar, Value, replace, scalar
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason

_X = Value("x")

# From here on, x and its softplus are the same float32.
_SAME_ABOVE = 17


@dataclass(frozen=True)
class RecognizeUnlimitedSoftplus(Recognition):
    """Drop the threshold above which PyTorch takes x for its softplus: there they are the same number.

        before   Where(x > 20, x, Softplus(x))
        after    Softplus(x)

    Does not fire if the threshold is below 17, if a tensor inside of the idiom is an output of the graph or has other
    users, or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-unlimited-softplus"
    pattern: ClassVar[Pattern] = Op("Where", Op("Greater", _X, Scalar(name="threshold")), _X, Op("Softplus", _X))

    def refusal(self, match: Match) -> Reason | None:
        threshold = scalar(match["threshold"]) or 0.0
        if threshold < _SAME_ABOVE:
            return Reason("the threshold {:.7g} is below {}", threshold, _SAME_ABOVE)
        return elementwise(match)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        replace(match, rewriter, "Softplus", [match["x"]])
