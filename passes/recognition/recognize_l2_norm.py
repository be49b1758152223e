"""x / length of x -> LpNormalization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pruna_ir.passes.recognition.idioms import root, square
from pruna_ir.passes.recognition.normalization import reduced_axes
from pruna_ir.passes.recognition.recognition import Recognition, unsuitable
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Value, maybe
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason

_X = Value("x")
_SQUARES = OneOf(Op("ReduceSum", square(_X), ..., name="sum"), Op("ReduceSumSquare", _X, ..., name="sum"))
_LENGTH = OneOf(Op("ReduceL2", _X, ..., name="sum"), root(_SQUARES))
_LIMITED = OneOf(Op(("Clip", "Max"), _LENGTH, ..., name="limit"), _LENGTH)


@dataclass(frozen=True)
class RecognizeL2Norm(Recognition):
    """Find vectors scaled to length one.

        before   x / ReduceL2(x)     x / Sqrt(ReduceSum(x^2))     along one axis
        after    LpNormalization<p=2>(x)

    Does not fire if the length is kept from falling below a limit, as PyTorch does (the operator has none), if it is
    over several axes, if a tensor inside of the idiom is an output of the graph or has other users, if x is no float,
    or if the target is slow at LpNormalization.
    """

    name: ClassVar[str] = "recognize-l2-norm"
    makes: ClassVar[tuple[str, int] | None] = ("LpNormalization", 1)
    pattern: ClassVar[Pattern] = Op("Div", _X, maybe("Expand", _LIMITED, ...))

    def refusal(self, match: Match) -> Reason | None:
        x = match["x"]
        if "limit" in match:
            return Reason("`{}` is a length with a limit, which LpNormalization lacks", match["limit"].outputs[0].name)
        if x.shape is None:
            return Reason("the shape of `{}` is not known", x.name)
        axes = reduced_axes(match["sum"], len(x.shape))
        if isinstance(axes, list) and len(axes) != 1:
            return Reason("the length is over the axes {}, not one", axes)
        return axes if isinstance(axes, Reason) else unsuitable(x)

    def attributes(self, match: Match) -> Mapping[str, Any]:
        axes = reduced_axes(match["sum"], len(match["x"].shape))
        return {"axis": axes[0] if isinstance(axes, list) else -1, "p": 2}
