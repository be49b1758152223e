"""Whether two graphs are the same up to names: walked in pairs from their outputs to their inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

# Parameters that were folded by two tools differ in their last bits.
_ROUNDING = 1e-5


def difference(one: gs.Graph, other: gs.Graph) -> str | None:
    """The first thing in which two graphs differ that is no name, None if there is none.

    Compared are operators, attributes, who reads what, types and known sizes of inputs, and the values of constants: to
    the bit, floating-point ones within 1e-5 of their largest. A size that a Reshape copies (0) or infers (-1) fits any.
    Unconnected nodes are only counted.
    """
    return _Walk().difference(one, other)


class _Walk:
    """What is taken for the same in two graphs, by identity, and the pairs of tensors that are still to be compared."""

    def __init__(self) -> None:
        self._twins: dict[int, Any] = {}
        self._waiting: list[tuple[gs.Tensor, gs.Tensor]] = []

    def difference(self, one: gs.Graph, other: gs.Graph) -> str | None:
        found = self._graphs(one, other)
        while found is None and self._waiting:
            found = self._tensors(*self._waiting.pop())
        return found

    def _graphs(self, one: gs.Graph, other: gs.Graph) -> str | None:
        """Compare the interfaces of two graphs or sub-graphs; what is inside follows from their outputs."""
        counts = [(len(graph.inputs), len(graph.outputs), len(graph.nodes)) for graph in (one, other)]
        if counts[0] != counts[1]:
            return "inputs, outputs, nodes: {} and {}".format(*counts)
        for pair in zip(one.inputs, other.inputs, strict=True):
            if _type(pair[0]) != _type(pair[1]):
                return f"the inputs {pair[0].name} and {pair[1].name}"
            self._couple(*pair)
        self._waiting += zip(one.outputs, other.outputs, strict=True)
        return None

    def _couple(self, one: object, other: object) -> bool:
        """Take two nodes or tensors for the same; whether neither is another's twin."""
        return self._twins.setdefault(id(one), other) is other and self._twins.setdefault(id(other), one) is one

    def _tensors(self, one: gs.Tensor, other: gs.Tensor) -> str | None:
        if isinstance(one, gs.Constant) and isinstance(other, gs.Constant):
            return None if _same_values(one.values, other.values) else f"the constants {one.name} and {other.name}"
        if one.is_empty() and other.is_empty():
            return None
        known = id(one) in self._twins and id(other) in self._twins
        if not self._couple(one, other) or len(one.inputs) != len(other.inputs):
            return f"the tensors {one.name} and {other.name}"
        if known or not one.inputs:
            return None if known else f"where {one.name} and {other.name} come from"
        return self._nodes(one.inputs[0], other.inputs[0])

    def _nodes(self, one: gs.Node, other: gs.Node) -> str | None:
        same = (one.op, one.domain, len(one.inputs), len(one.outputs), set(one.attrs)) == (
            (other.op, other.domain, len(other.inputs), len(other.outputs), set(other.attrs))
        )
        if not same or not self._couple(one, other):
            return f"the nodes {_text(one)} and {_text(other)}"
        for name, value in one.attrs.items():
            found = self._attributes(value, other.attrs[name])
            if found is not None:
                return f"{name} of {_text(one)} and {_text(other)}: {found}"
        for pair in zip(one.outputs, other.outputs, strict=True):
            if not pair[0].is_empty() and not self._couple(*pair):
                return f"the outputs of {_text(one)} and {_text(other)}"
        if one.op == "Reshape" and _same_target(one.inputs[1], other.inputs[1]):
            self._waiting.append((one.inputs[0], other.inputs[0]))
            return None
        self._waiting += zip(one.inputs, other.inputs, strict=True)
        return None

    def _attributes(self, one: Any, other: Any) -> str | None:
        if isinstance(one, gs.Graph) and isinstance(other, gs.Graph):
            return self._graphs(one, other)
        if isinstance(one, gs.Constant) and isinstance(other, gs.Constant):
            one, other = one.values, other.values
        return None if _same_values(one, other) else f"{one} and {other}"


def _type(tensor: gs.Tensor) -> tuple[Any, list[int | None] | None]:
    """Element type and shape; open sizes may have names."""
    shape = tensor.shape
    return tensor.dtype, shape and [size if isinstance(size, int) else None for size in shape]


def _same_target(one: gs.Tensor, other: gs.Tensor) -> bool:
    """Whether two constants that are reshaped to have the same sizes, as far as both give numbers."""
    if not isinstance(one, gs.Constant) or not isinstance(other, gs.Constant) or one.values.shape != other.values.shape:
        return False
    given = (one.values > 0) & (other.values > 0)
    return bool((one.values == other.values)[given].all())


def _same_values(one: Any, other: Any) -> bool:
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind != "f":
        return bool((first == second).all())
    largest = np.abs(first, where=np.isfinite(first), out=np.zeros_like(first)).max(initial=0)
    return bool(np.allclose(first, second, rtol=0, atol=_ROUNDING * float(largest), equal_nan=True))


def _text(node: gs.Node) -> str:
    names: Sequence[str] = [tensor.name for tensor in node.outputs]
    return f"{node.op} of {', '.join(names)}"
