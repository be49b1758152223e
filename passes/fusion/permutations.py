"""The order of axes that a Transpose makes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs


def permutation(node: gs.Node) -> list[int] | None:
    """The order of a Transpose: output axis i is input axis order[i]. None if it hangs on a rank that is not known."""
    if "perm" in node.attrs:
        return list(node.attrs["perm"])
    shape = node.inputs[0].shape if node.inputs[0].shape is not None else node.outputs[0].shape
    return None if shape is None else list(range(len(shape) - 1, -1, -1))


def composed(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """The order that `first` and then `second` make."""
    return [first[axis] for axis in second]


def is_identity(order: Sequence[int]) -> bool:
    """Whether every axis stays where it is."""
    return list(order) == list(range(len(order)))
