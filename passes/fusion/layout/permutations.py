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


def inverse(order: Sequence[int]) -> list[int]:
    """The order that undoes one."""
    return [list(order).index(axis) for axis in range(len(order))]


def moves_units_only(node: gs.Node) -> bool:
    """Whether a node is a Transpose that leaves the order of the elements: only axes of size 1 move."""
    if node.op != "Transpose" or node.domain not in (None, "", "ai.onnx") or node.inputs[0].shape is None:
        return False
    shape, order = node.inputs[0].shape, permutation(node)
    if order is None or len(order) != len(shape):
        return False
    moving = [axis for axis in order if shape[axis] != 1]
    return moving == sorted(moving)
