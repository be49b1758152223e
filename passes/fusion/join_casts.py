"""Cast -> Cast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass, erase_unread
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class JoinCasts(Rule):
    """Join two Casts in a row where the first one loses nothing.

        before   Cast(Cast(x float16, float32), float64)
        after    Cast(x, float64)     or x itself where the second Cast goes back to its type

    Two that cancel go even if others read the tensor between them: the first then stays for those.

    Does not fire if the type between the two cannot hold every value of x, if floats become integers or integers of
    another range come out of floats (what does not fit is undefined there), for text and for types that NumPy lacks,
    or, unless the two cancel, if the tensor between them is an output of the graph or has other users.
    """

    name: ClassVar[str] = "join-casts"
    roots: ClassVar[tuple[str, ...]] = ("Cast",)

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "Cast")
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        source, middle, target = first.inputs[0], first.outputs[0], second.outputs[0]
        for tensor in (source, middle, target):
            if not _is_numeric(tensor.dtype):
                return Reason("`{}` holds {}, not numbers that NumPy knows", tensor.name, tensor.dtype)
        reason = _inexact(*(np.dtype(tensor.dtype) for tensor in (source, middle, target)))
        if reason is not None:
            return reason
        match["cancel"] = source.dtype == target.dtype and not cannot_bypass(target, source, rewriter)
        return None if match["cancel"] else rewriter.not_internal(middle)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        if match["cancel"]:
            bypass(second, first.inputs[0], rewriter)
        else:
            rewriter.set_input(second, 0, first.inputs[0])
        erase_unread(first, rewriter)


def _is_numeric(dtype: Any) -> bool:
    """Whether a type is one of NumPy's numbers or booleans."""
    return dtype is not None and not isinstance(dtype, int) and np.dtype(dtype).kind in "biuf"


def _inexact(source: np.dtype, middle: np.dtype, target: np.dtype) -> Reason | None:
    """Why Cast(Cast(x)) may differ from one Cast.

    `np.can_cast` counts int64 to float64 as safe, which it is not.
    """
    rounded = source.kind in "iu" and middle.kind == "f" and source.itemsize * 8 > np.finfo(middle).nmant + 1
    if rounded or not np.can_cast(source, middle, "safe"):
        return Reason("{} does not hold every value of {}", middle, source)
    if middle.kind == "f" and target.kind in "iu" and not np.can_cast(source, target, "safe"):
        return Reason("what {} does with values of {} that it cannot hold is not defined", target, middle)
    return None
