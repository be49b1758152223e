"""Transpose -> Transpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, cannot_bypass, erase_unread
from pruna_ir.passes.fusion.layout.permutations import composed, is_identity, permutation
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class JoinTransposes(Rule):
    """Join two Transposes in a row into one, or into nothing where the second undoes the first.

        before   Transpose(Transpose(x, p), q)
        after    Transpose(x, r)     r[i] = p[q[i]], or x itself

    Two that cancel go even if others read the tensor between them: the first then stays for those.

    Else does not fire if the tensor between the two is an output of the graph or has other users; nor if both
    reverse the axes of a tensor whose rank is not known.
    """

    name: ClassVar[str] = "join-transposes"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)

    def match(self, root: gs.Node) -> Match | None:
        first = producer(root.inputs[0], "Transpose")
        return {"first": first, "second": root} if first is not None else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        first, second = match["first"], match["second"]
        inner, outer = permutation(first), permutation(second)
        if inner is None or outer is None:
            return Reason("the rank of `{}` is not known", second.inputs[0].name)
        match["order"] = composed(inner, outer)
        match["cancel"] = is_identity(match["order"]) and not cannot_bypass(
            second.outputs[0], first.inputs[0], rewriter
        )
        return None if match["cancel"] else rewriter.not_internal(first.outputs[0])

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        first, second = match["first"], match["second"]
        if match["cancel"]:
            bypass(second, first.inputs[0], rewriter)
        else:
            second.attrs["perm"] = match["order"]
            rewriter.set_input(second, 0, first.inputs[0])
        erase_unread(first, rewriter)
