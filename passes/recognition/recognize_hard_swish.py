"""x * HardSigmoid(x) -> HardSwish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pruna_ir.passes.recognition.idioms import clipped, plus
from pruna_ir.passes.recognition.recognition import Recognition, elementwise
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Product, Scalar, Value, is_close
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason

_X = Value("x")
_SIXTHS = clipped(plus(_X, Scalar(3)), Scalar(0), Scalar(6))
_ONES = clipped(plus(Product(_X, scale=1 / 6), Scalar(0.5)), Scalar(0), Scalar(1))

# The attributes of HardSigmoid: what HardSwish has, and the defaults.
_GATE = {"alpha": (1 / 6, 0.2), "beta": (0.5, 0.5)}


@dataclass(frozen=True)
class RecognizeHardSwish(Recognition):
    """Find the hard swish, x times its hard sigmoid.

        before   x * Clip(x + 3, 0, 6) / 6     x * HardSigmoid<alpha=1/6, beta=1/2>(x)
        after    HardSwish(x)

    Does not fire below opset 14, if a constant is another one, if a tensor inside of the idiom is an output of the
    graph or has other users, or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-hard-swish"
    makes: ClassVar[tuple[str, int] | None] = ("HardSwish", 14)
    pattern: ClassVar[Pattern] = OneOf(
        Product(_X, Op("HardSigmoid", _X, name="gate")), Product(_X, _SIXTHS, scale=1 / 6), Product(_X, _ONES)
    )

    def refusal(self, match: Match) -> Reason | None:
        given = match["gate"].attrs if "gate" in match else {name: wanted for name, (wanted, _) in _GATE.items()}
        for attribute, (wanted, default) in _GATE.items():
            value = given.get(attribute, default)
            if not is_close(value, wanted, match["x"]):
                return Reason("the HardSigmoid has {}={:.7g}, not {:.7g}", attribute, value, wanted)
        return elementwise(match)
