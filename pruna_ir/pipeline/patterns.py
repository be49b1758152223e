"""Patterns of nodes, declared as trees: how rules that look for an idiom say what it looks like.

    x = Value("x")
    SILU = Op("Mul", x, Op("Sigmoid", x))           # x is the same tensor both times
    HALF = Op("Add", Op("Exp", x), Scalar(1))       # operands of Add, Mul, ... in either order
    MEAN = Op("ReduceMean", x, ..., name="mean")    # `...`: any further inputs; the node is captured as "mean"
    GELU = Product(x, Op("Erf", Product(x, scale=0.5**0.5)), scale=0.5)

`find` gives what a pattern captures at a root: tensors by the names of Values and Scalars, nodes by the names of Ops.
A constant that is not the one wanted is a near miss, not a failure, so that a rule can say what is wrong: `misfit` is
the reason, and also tells when a tensor inside of the idiom is needed elsewhere. `replace` puts one node in its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from types import EllipsisType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, op_key, producer
from pruna_ir.remarks import Reason

# Operators whose two operands a pattern finds in either order.
COMMUTATIVE = frozenset({"Add", "Sum", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal"})

# More nodes than any idiom has: a product may go on for thousands of factors.
_MOST_NODES = 64

# How far a constant may be from the wanted value, relative to it: exporters write five digits and more, and a type may
# hold fewer (by its size in bytes).
_TOLERANCE = {2: 1e-3, 4: 5e-6, 8: 5e-6}


@dataclass(frozen=True)
class Found:
    """What a pattern has found so far: its captures, its nodes from the root on, and a constant that is wrong."""

    parts: Mapping[str, Any] = field(default_factory=dict)
    nodes: tuple[gs.Node, ...] = ()
    problem: Reason | None = None

    def capture(self, name: str, part: Any) -> Found | None:
        """With a part under a name; None if the name stands for another part already. No name: nothing to capture."""
        if not name:
            return self
        known = self.parts.get(name)
        if known is not None:
            return self if known is part else None
        return Found({**self.parts, name: part}, self.nodes, self.problem)

    def through(self, node: gs.Node) -> Found:
        """With one more node."""
        known = any(node is one for one in self.nodes)
        return self if known else Found(self.parts, (*self.nodes, node), self.problem)

    def despite(self, problem: Reason | None) -> Iterator[Found]:
        """With a constant that is wrong, if it is; with two of them it is another idiom."""
        if problem is None:
            yield self
        elif self.problem is None:
            yield Found(self.parts, self.nodes, problem)


class Pattern(ABC):
    """What a tensor may be computed by."""

    @abstractmethod
    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        """All ways in which `tensor` fits, each with what was found before and with it."""

    @property
    def roots(self) -> tuple[str, ...]:
        """The operators that may write a tensor that fits."""
        raise TypeError(f"a {type(self).__name__} cannot be the root of a pattern")

    def possible(self, operators: Set[str]) -> bool:
        """Whether anything that is made of these operators can fit."""
        return True


class Value(Pattern):
    """Any tensor, under a name; the same name is the same tensor."""

    def __init__(self, name: str) -> None:
        self.name = name

    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        captured = found.capture(self.name, tensor)
        if captured is not None:
            yield captured


class Scalar(Pattern):
    """A floating-point or integer constant with one element, of a given value (or of any, to be captured).

    Anything else that stands in its place is a near miss, or no match at all if `near` is false.
    """

    def __init__(self, value: float | None = None, name: str = "", *, near: bool = True) -> None:
        self.value, self.name, self.near = value, name, near

    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        captured, problem = found.capture(self.name, tensor), self._problem(tensor)
        if captured is not None and (self.near or problem is None):
            yield from captured.despite(problem)

    def _problem(self, tensor: gs.Tensor) -> Reason | None:
        if not isinstance(tensor, gs.Constant):
            return Reason("`{}` is not a constant", tensor.name)
        value = scalar(tensor)
        if value is None:
            return Reason("`{}` of shape {} is not a number", tensor.name, list(tensor.shape))
        if self.value is None or is_close(value, self.value, tensor):
            return None
        return Reason("`{}` is {:.7g}, not {:.7g}", tensor.name, value, self.value)


class Op(Pattern):
    """A node of an operator (or one of several) whose inputs fit; those of `COMMUTATIVE` ones in either order.

    Inputs that the node has beyond the patterns must be left out, or `...` stands behind the last pattern.
    """

    def __init__(self, ops: str | Sequence[str], *inputs: Pattern | EllipsisType, name: str = "") -> None:
        self.ops = (ops,) if isinstance(ops, str) else tuple(ops)
        self.inputs = [pattern for pattern in inputs if isinstance(pattern, Pattern)]
        self.more = len(self.inputs) < len(inputs)
        self.name = name

    @property
    def roots(self) -> tuple[str, ...]:
        return self.ops

    def possible(self, operators: Set[str]) -> bool:
        return not operators.isdisjoint(self.ops) and all(pattern.possible(operators) for pattern in self.inputs)

    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        node = producer(tensor, *self.ops)
        if node is None or node.outputs[0] is not tensor or len(node.inputs) < len(self.inputs):
            return
        if not self.more and any(not extra.is_empty() for extra in node.inputs[len(self.inputs) :]):
            return
        captured = found.capture(self.name, node)
        if captured is None:
            return
        given = list(node.inputs[: len(self.inputs)])
        swaps = node.op in COMMUTATIVE and len(given) == 2 and given[0] is not given[1]
        orders = [given, given[::-1]] if swaps else [given]
        for order in orders:
            yield from _all(self.inputs, order, captured.through(node))


class OneOf(Pattern):
    """The first of several patterns that fits, or the next ones if what follows does not."""

    def __init__(self, *choices: Pattern) -> None:
        self.choices = choices

    @property
    def roots(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(root for choice in self.choices for root in choice.roots))

    def possible(self, operators: Set[str]) -> bool:
        return any(choice.possible(operators) for choice in self.choices)

    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        for choice in self.choices:
            yield from choice.matches(tensor, found)


class Product(Pattern):
    """Factors in any order and association, times a scalar that Muls and Divs by constants make together.

    The scalar is `scale`; if that is None it may be any, and is captured as a float under `name`.
    """

    def __init__(self, *factors: Pattern, scale: float | None = 1.0, name: str = "") -> None:
        # What fits anything comes last: a search that fails ends early.
        self.factors = sorted(factors, key=lambda factor: isinstance(factor, Value))
        self.scale, self.name = scale, name

    @property
    def roots(self) -> tuple[str, ...]:
        return ("Mul", "Div")

    def possible(self, operators: Set[str]) -> bool:
        return all(factor.possible(operators) for factor in self.factors)

    def matches(self, tensor: gs.Tensor, found: Found) -> Iterator[Found]:
        for scale, fit in self._split(tensor, self.factors, found):
            if self.scale is None:
                captured = fit.capture(self.name, scale)
                if captured is not None:
                    yield captured
            elif is_close(scale, self.scale, tensor):
                yield fit
            elif not any(op_key(reader) in self.roots for reader in tensor.outputs):  # else it is part of a larger one
                yield from fit.despite(Reason("`{}` has the factor {:.7g}, not {:.7g}", tensor.name, scale, self.scale))

    def _split(self, tensor: gs.Tensor, factors: Sequence[Pattern], found: Found) -> Iterator[tuple[float, Found]]:
        """The scale that `tensor` has beside the product of `factors`, for each way to find these in it."""
        node = producer(tensor, *self.roots)
        if node is not None and len(found.nodes) < _MOST_NODES:
            yield from self._split_node(node, factors, found)
        if len(factors) == 1:
            yield from ((1.0, fit) for fit in factors[0].matches(tensor, found))

    def _split_node(self, node: gs.Node, factors: Sequence[Pattern], found: Found) -> Iterator[tuple[float, Found]]:
        left, right = node.inputs
        inside = found.through(node)
        by_left, by_right = scalar(left), scalar(right)
        if by_right is not None and (node.op == "Mul" or by_right != 0):
            scale = by_right if node.op == "Mul" else 1 / by_right
            yield from ((rest * scale, fit) for rest, fit in self._split(left, factors, inside))
        elif node.op == "Mul" and by_left is not None:
            yield from ((rest * by_left, fit) for rest, fit in self._split(right, factors, inside))
        elif node.op == "Mul":
            for chosen, others in _halves(factors):
                for one, other in ((left, right), (right, left)):
                    for first, half in self._split(one, chosen, inside):
                        yield from ((first * second, fit) for second, fit in self._split(other, others, half))


def maybe(op: str, pattern: Pattern, *inputs: Pattern | EllipsisType, name: str = "") -> Pattern:
    """`pattern`, or a node of an operator that has it as its first operand."""
    return OneOf(Op(op, pattern, *inputs, name=name), pattern)


def find(pattern: Pattern, root: gs.Node) -> Match | None:
    """What a pattern captures with `root` as its last node: the best way if there are several, None if there is none.

    Beside the captures the match has what `misfit` and `replace` need, as `root`, `nodes` and `problem`.
    """
    best: Found | None = None
    badness = (True, 0)
    for found in pattern.matches(root.outputs[0], Found()):
        if not any(node is root for node in found.nodes):
            continue
        faults = found.problem is not None, len(_outsiders(found.nodes, root))
        if best is None or faults < badness:
            best, badness = found, faults
        if badness == (False, 0):
            break
    return None if best is None else {**best.parts, "root": root, "nodes": best.nodes, "problem": best.problem}


def misfit(match: Match, rewriter: Rewriter) -> Reason | None:
    """What is wrong with a match: a constant, or a tensor inside of the idiom that must survive."""
    if match["problem"] is not None:
        return match["problem"]  # type: ignore[no-any-return]
    for node in match["nodes"]:
        if not rewriter.owns(node):
            return Reason("`{}` is computed outside of the sub-graph that reads it", node.outputs[0].name)
        for tensor in node.outputs if node is not match["root"] else ():
            if rewriter.is_output(tensor):
                return Reason("`{}` is an output of the graph", tensor.name)
    for tensor, reader in _outsiders(match["nodes"], match["root"]):
        if not rewriter.owns(reader):
            return Reason("`{}` is read inside of a sub-graph", tensor.name)
        return Reason("`{}` is also read by `{}`", tensor.name, node_name(reader))
    return None


def replace(
    match: Match,
    rewriter: Rewriter,
    op: str,
    inputs: Sequence[gs.Tensor],
    attributes: Mapping[str, Any] | None = None,
    domain: str | None = None,
) -> gs.Node:
    """Put one node in the place of all nodes of a match; it has the name of the root, and writes what that wrote."""
    root = match["root"]
    output = root.outputs[0]
    node = gs.Node(op, name=root.name, attrs=dict(attributes or {}), inputs=list(inputs), domain=domain)
    rewriter.insert(node, before=root)
    for old in match["nodes"]:
        rewriter.erase(old)
    node.outputs.append(output)
    rewriter.touch(node)
    return node


def scalar(tensor: gs.Tensor) -> float | None:
    """The value of a constant with one element, of any rank; None if it is something else."""
    if not isinstance(tensor, gs.Constant) or any(size != 1 for size in tensor.shape):
        return None
    values = np.asarray(tensor.values)
    return float(values.reshape(())) if values.dtype.kind in "fiu" else None


def is_close(value: float, wanted: float, tensor: gs.Tensor) -> bool:
    """Whether a constant is meant to be `wanted`, given what the type of `tensor` can hold."""
    known = tensor.dtype is not None and not isinstance(tensor.dtype, int)
    size = np.dtype(tensor.dtype).itemsize if known else 4
    return abs(value - wanted) <= abs(wanted) * _TOLERANCE.get(size, 0.0)


def _outsiders(nodes: Sequence[gs.Node], root: gs.Node) -> list[tuple[gs.Tensor, gs.Node]]:
    """Tensors between the nodes of an idiom that other nodes read as well, and who does."""
    inside = {id(node) for node in nodes}
    between = [tensor for node in nodes if node is not root for tensor in node.outputs]
    return [(tensor, reader) for tensor in between for reader in tensor.outputs if id(reader) not in inside]


def _all(patterns: Sequence[Pattern], tensors: Sequence[gs.Tensor], found: Found) -> Iterator[Found]:
    """All ways in which every tensor fits its pattern."""
    if not patterns:
        yield found
        return
    for first in patterns[0].matches(tensors[0], found):
        yield from _all(patterns[1:], tensors[1:], first)


def _halves(factors: Sequence[Pattern]) -> Iterator[tuple[list[Pattern], list[Pattern]]]:
    """All ways to share out factors over two operands, each of which gets one at least; the first is in the first."""
    rest = range(1, len(factors))
    for count in range(len(factors) - 1):
        for chosen in combinations(rest, count):
            yield [factors[0], *(factors[one] for one in chosen)], [factors[one] for one in rest if one not in chosen]
