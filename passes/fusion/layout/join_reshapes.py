"""Reshape, Flatten, Squeeze or Unsqueeze in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass, erase_unread
from pruna_ir.passes.fusion.static_shapes import RESHAPES, joint_target, leaves_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class JoinReshapes(Rule):
    """Join two nodes in a row that only change the shape into one Reshape, or into nothing.

        before   Unsqueeze(Reshape(x[n,6], [0,2,3]), [1])
        after    Reshape(x, [0,1,2,3])      nothing at all where the shape is that of x again

    For Reshape, Flatten, Squeeze and Unsqueeze. A dimension without a number is copied from its place in x (0), and
    one more may be what is left of the elements (-1). Two that cancel go even if others read the tensor between them.

    Else does not fire if the tensor between the two is an output of the graph or has other users, nor if the new shape
    cannot be written as a constant or is empty.
    """

    name: ClassVar[str] = "join-reshapes"
    roots: ClassVar[tuple[str, ...]] = RESHAPES

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], *RESHAPES)
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        source, target = first.inputs[0], second.outputs[0]
        match["cancel"] = leaves_shape(source, [first, second]) and not cannot_bypass(target, source, rewriter)
        if match["cancel"]:
            return None
        shape = joint_target(source, [first, second])
        if isinstance(shape, Reason):
            return shape
        match["shape"] = shape
        return rewriter.not_internal(first.outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        source = first.inputs[0]
        if match["cancel"]:
            bypass(second, source, rewriter)
        else:
            output = second.outputs[0]
            shape = rewriter.constant(f"{output.name}_shape", np.array(match["shape"], np.int64))
            joined = rewriter.insert(gs.Node("Reshape", name=second.name, inputs=[source, shape]), before=second)
            rewriter.erase(second)
            joined.outputs.append(output)
            rewriter.touch(joined)
        erase_unread(first, rewriter)
