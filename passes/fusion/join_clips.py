"""Clip -> Clip, and Clip with Relu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

_PARTS = ("min", "max")


@dataclass(frozen=True)
class JoinClips(Rule):
    """Join two Clips, or a Clip and a Relu, into one Clip.

        before   Clip(Clip(x, a, b), c, d)     Clip(Relu(x), c, d)
        after    Clip(x, min(max(a, c), d), min(max(b, c), d))     a Relu has the limits 0 and infinity

    Limits that are left out are the largest finite numbers of the type, as in ONNX.

    Does not fire if the tensor between the two is an output of the graph or has other users, if a limit is no
    floating-point constant, or if a lower limit is above the upper one.
    """

    name: ClassVar[str] = "join-clips"
    roots: ClassVar[tuple[str, ...]] = ("Clip", "Relu")

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "Clip", "Relu" if root.op == "Clip" else "Clip")
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        middle = first.outputs[0]
        reason = rewriter.not_internal(middle)
        if reason is None:
            reason = not_foldable([*first.inputs[1:], *second.inputs[1:]])
        if reason is not None:
            return reason
        if middle.dtype is None or isinstance(middle.dtype, int) or np.dtype(middle.dtype).kind != "f":
            return Reason("`{}` holds {}, not floats that NumPy knows", middle.name, middle.dtype)
        inner, outer = _limits(first, middle.dtype), _limits(second, middle.dtype)
        for low, high in (inner, outer):
            if not low <= high:
                return Reason("the limits {} and {} leave nothing between them", low, high)
        match["limits"] = [min(max(limit, outer[0]), outer[1]) for limit in inner]
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        output = second.outputs[0]
        kind = np.finfo(output.dtype)
        inputs = [first.inputs[0]]
        for part, limit, default in zip(_PARTS, match["limits"], (kind.min, kind.max), strict=True):
            left_out = limit == default
            values = np.array(limit, output.dtype)
            inputs.append(gs.Variable.empty() if left_out else rewriter.constant(f"{output.name}_{part}", values))
        joined = rewriter.insert(gs.Node("Clip", name=second.name, inputs=inputs), before=second)
        rewriter.erase(second)
        rewriter.erase(first)
        joined.outputs.append(output)
        rewriter.touch(joined)


def _limits(node: gs.Node, dtype: np.dtype) -> list[float]:
    """The lower and the upper limit of a Clip or Relu."""
    if node.op == "Relu":
        return [0.0, np.inf]
    found = [float(np.finfo(dtype).min), float(np.finfo(dtype).max)]
    for index, tensor in enumerate(node.inputs[1:]):
        if not tensor.is_empty():
            found[index] = float(np.asarray(tensor.values).reshape(()))
    return found
