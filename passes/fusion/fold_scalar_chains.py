"""Mul and Div, or Add and Sub, by constants in a row, one of them a scalar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import as_float64, is_parameter, not_foldable, rounded, unshared
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

_FAMILIES = (("Mul", "Div"), ("Add", "Sub"))

# How far the value between two products may be from both x and the result, by the size of a float in bytes: float32
# ends at 2**128, far from what networks hold, float16 at 2**16, which they do reach.
_SPARE_RANGE = {2: 1.0, 4: 2.0**32, 8: 2.0**32}
# How much larger the first term of a sum may be than the sum of both, which rounds to the last bit of the larger.
_CANCELLATION = {2: 1.0, 4: 2.0, 8: 2.0}


@dataclass(frozen=True)
class FoldScalarChains(Rule):
    """Join two products or quotients, or two sums or differences, with a scalar and another constant into one.

        before   Div(Mul(x, a), b)     Sub(c, Add(x, d))
        after    Mul(x, a / b)         Sub(c - d, x)

    The constants are joined in float64 and rounded once.

    Does not fire if the tensor between the two is an output of the graph or has other users, if a constant is
    quantized or no float, if neither is a scalar, if the one that is none has other users, if the joint constant would
    not be finite or a joint factor subnormal, if a factor is zero, if the value between the two could overflow or
    underflow where the result does not, or if the terms of a sum cancel each other: x + 1e9 - 1e9 is not x.
    """

    name: ClassVar[str] = "fold-scalar-chains"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div", "Add", "Sub")

    def match(self, root: gs.Node) -> Match | None:
        family = next(ops for ops in _FAMILIES if root.op in ops)
        for index, tensor in enumerate(root.inputs):
            first = producer(tensor, *family)
            if first is None or not is_parameter(root.inputs[1 - index]):
                continue
            inner = next((place for place in (0, 1) if not is_parameter(first.inputs[place])), None)
            divides = (root.op, index) == ("Div", 1) or (first.op, inner) == ("Div", 1)
            if inner is not None and is_parameter(first.inputs[1 - inner]) and not divides:
                return {"first": (first, inner), "second": (root, index)}
        return None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        (first, inner), (second, index) = match["first"], match["second"]
        constants = [first.inputs[1 - inner], second.inputs[1 - index]]
        reason = rewriter.not_internal(first.outputs[0])
        if reason is None:
            reason = not_foldable(constants)
        if reason is not None:
            return reason
        tensors = [constant for constant in constants if np.prod(constant.shape) != 1]
        if len(tensors) == 2:
            names = [constant.name for constant in tensors]
            return Reason("neither `{}` nor `{}` is a scalar", *names)
        reason = unshared(tensors)
        if reason is not None:
            return reason
        a, b = np.broadcast_arrays(*(as_float64(constant) for constant in constants))
        size = np.dtype(constants[0].dtype).itemsize
        joint = _product(first.op, a, second.op, b, size) if first.op in _FAMILIES[0] else _sum(match, a, b, size)
        if isinstance(joint, Reason):
            return joint
        op, values, position = joint
        stored = rounded(values, constants[0].dtype, "constant")
        match["joint"] = op, stored, position
        return stored if isinstance(stored, Reason) else None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        (first, inner), (second, index) = match["first"], match["second"]
        op, values, position = match["joint"]
        output, source = second.outputs[0], first.inputs[inner]
        inputs = [source, rewriter.constant(second.inputs[1 - index].name, values)]
        joined = gs.Node(op, name=second.name, inputs=inputs if position == 0 else inputs[::-1])
        rewriter.insert(joined, before=second)
        rewriter.erase(second)
        rewriter.erase(first)
        joined.outputs.append(output)
        rewriter.touch(joined)


# An operator, its constant, and where its other operand stands.
_Joint = tuple[str, np.ndarray, int]


def _product(first: str, a: np.ndarray, second: str, b: np.ndarray, size: int) -> _Joint | Reason:
    """Two products or quotients as one."""
    useless = ~(np.isfinite(a) & np.isfinite(b)) | (a == 0) | (b == 0)
    if useless.any():
        return Reason("the factors {} and {} are not both finite and other than zero", a[useless][0], b[useless][0])
    total = (a if first == "Mul" else 1 / a) * (b if second == "Mul" else 1 / b)
    between = abs(a if first == "Mul" else 1 / a)
    spare = _SPARE_RANGE[size]
    low, high = np.minimum(1.0, abs(total)) / spare, np.maximum(1.0, abs(total)) * spare
    if not ((low <= between) & (between <= high)).all():
        return Reason("the value between the two could leave the range of its type where the result does not")
    op = "Div" if first == second == "Div" else "Mul"
    joint = a * b if first == second else a / b if first == "Mul" else b / a
    if (abs(joint) < np.finfo(f"f{size}").tiny).any():
        return Reason("the joint constant would be so small that its type has few digits for it")
    return op, joint, 0


def _sum(match: Match, a: np.ndarray, b: np.ndarray, size: int) -> _Joint | Reason:
    """Two sums or differences as one: each is sign * x + term."""
    (first, inner), (second, index) = match["first"], match["second"]
    sign, term = _signed(first.op, inner, a)
    outer, addend = _signed(second.op, index, b)
    total = outer * term + addend
    cancelling = abs(term) > abs(total) * _CANCELLATION[size]
    if cancelling.any():
        return Reason("the terms {} and {} cancel each other", (outer * term)[cancelling][0], addend[cancelling][0])
    return ("Add", total, 0) if sign * outer > 0 else ("Sub", total, 1)


def _signed(op: str, index: int, value: np.ndarray) -> tuple[int, np.ndarray]:
    """A sum or difference as the sign of its operand number `index` and what is added to that."""
    if op == "Add":
        return 1, value
    return (1, -value) if index == 0 else (-1, value)
