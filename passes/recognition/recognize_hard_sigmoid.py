"""A straight line between 0 and 1 -> HardSigmoid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.idioms import clipped, plus
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import OneOf, Pattern, Product, Scalar, Value, is_close, scalar
from pruna_ir.pipeline.rules import Match

_LINE = plus(Product(Value("x"), scale=None, name="slope"), Scalar(name="shift", near=False))


def _up_to(high: Scalar) -> Pattern:
    return clipped(_LINE, Scalar(0, near=False), high)


@dataclass(frozen=True)
class RecognizeHardSigmoid(Recognition):
    """Find the hard sigmoid, a straight line that is cut off below 0 and above 1.

        before   Clip(x + 3, 0, 6) / 6     Clip(0.2 * x + 0.5, 0, 1)
        after    HardSigmoid<alpha=1/6, beta=1/2>(x)

    Does not fire if a tensor inside of the idiom is an output of the graph or has
    other users, or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-hard-sigmoid"
    makes: ClassVar[tuple[str, int] | None] = ("HardSigmoid", 6)
    pattern: ClassVar[Pattern] = OneOf(
        _up_to(Scalar(1, near=False)), Product(_up_to(Scalar(name="high", near=False)), scale=None, name="scale")
    )

    def match(self, root: gs.Node) -> Match | None:
        match = super().match(root)
        ends_at_one = match is not None and is_close(match.get("scale", 1.0) * _high(match), 1, root.outputs[0])
        return match if ends_at_one else None

    def attributes(self, match: Match) -> Mapping[str, Any]:
        return {"alpha": match["slope"] / _high(match), "beta": (scalar(match["shift"]) or 0.0) / _high(match)}


def _high(match: Match) -> float:
    """The upper limit of the Clip."""
    return (scalar(match["high"]) or 0.0) if "high" in match else 1.0
