"""Transposes around nodes that could work on the other layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.layouts import Layout, Permuted
from pruna_ir.passes.fusion.layout.permutations import inverse, is_identity, permutation
from pruna_ir.passes.fusion.layout.push import Push


@dataclass(frozen=True)
class PushTransposes(Push):
    """Let nodes between Transposes work on the other layout where fewer Transposes remain.

        before   Transpose(Softmax(Concat(Transpose(x, p), Transpose(v, p), axis 3), axis 3), q)     q undoes p
        after    Softmax(Concat(x, v, axis 1), axis 1)

    Connected nodes change their layout together: elementwise operators, and those whose axes can be renamed (Concat,
    Split, Softmax, reductions, Slice, Pad, Resize, Gather, products of matrices whose last axes stay, ...). Constants
    that are broadcast are transposed with them. Where another node reads or writes one of their tensors, a Transpose
    is put; a reduction that removes axes may end the region without one.

    Does not fire if as many Transposes would come as go, or if they would move more elements, if more than 256 nodes
    are connected, or if a large constant that others read would be stored twice.
    """

    name: ClassVar[str] = "push-transposes"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)
    elements: ClassVar[bool] = True

    def layouts(self, root: gs.Node) -> tuple[Layout, Layout] | None:
        order = permutation(root)
        if order is None or is_identity(order):
            return None
        return Permuted(tuple(order)), Permuted(tuple(inverse(order)))
