"""The function behind a tensor: what becomes of its values before anything else sees them.

A range is best chosen by the error that arrives there. LeakyRelu and SiLU squash negative values, Sigmoid and HardSwish
go flat: what quantizing loses on that side costs little, and the integers are better spent on the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.elementwise import Elementwise, function_of
from pruna_ir.calibration.mse import Function

# The longest chain of nodes that is one function: GELU by its tanh takes eight.
_LONGEST = 12
_STANDARD_DOMAINS = (None, "", "ai.onnx")

# An operand of a step: the number of a value that is known already, a scalar, or None for one that is left out.
Operand = int | np.float64 | None


@dataclass(frozen=True)
class Step:
    """One node: a function of operands; its result is the value with the next number (0 is the tensor itself)."""

    function: Elementwise
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Composition:
    """Nodes one after the other, as one function from an array to another of the same shape."""

    steps: tuple[Step, ...]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The last node's result for these values of the tensor; what is not finite counts as zero."""
        known = [np.asarray(values, np.float64)]
        with np.errstate(all="ignore"):
            for step in self.steps:
                operands = [known[item] if isinstance(item, int) else item for item in step.operands]
                known.append(np.broadcast_to(step.function(*operands), values.shape))
        return np.nan_to_num(known[-1], nan=0.0, posinf=0.0, neginf=0.0)


def function_behind(tensor: gs.Tensor, outputs: Collection[int]) -> Function | None:
    """The function that all of `tensor`'s readers make up together, or None.

    That is one elementwise node (LeakyRelu), or several whose results meet again in one tensor (x -> Sigmoid and
    Mul with x) without anything else reading in between; other operands are scalars, or a PRelu's slopes, for which
    their root mean square stands: the squared error behind the function is then right on average. `outputs` are the
    ids of the graph's outputs.
    """
    known: dict[int, int] = {id(tensor): 0}
    tensors = [tensor]
    taken: set[int] = set()
    steps: list[Step] = []
    while len(steps) <= _LONGEST:
        if any(id(item) in outputs and item is not tensors[-1] for item in tensors):
            return None
        waiting = [item for item in tensors if not item.outputs or any(id(node) not in taken for node in item.outputs)]
        if steps and len(waiting) == 1 and waiting[0] is tensors[-1]:
            return Composition(tuple(steps))
        found = next(_ready(waiting, taken, known), None)
        if found is None:
            return None
        node, step = found
        steps.append(step)
        taken.add(id(node))
        known[id(node.outputs[0])] = len(tensors)
        tensors.append(node.outputs[0])
    return None


def _ready(tensors: list[gs.Tensor], taken: Collection[int], known: dict[int, int]) -> Iterator[tuple[gs.Node, Step]]:
    """Readers of `tensors`, not taken yet, that can be computed from what is known."""
    for tensor in tensors:
        for node in tensor.outputs:
            if id(node) in taken or node.domain not in _STANDARD_DOMAINS or len(node.outputs) != 1:
                continue
            function = function_of(node.op, node.attrs)
            operands = _operands(node, known)
            if function is not None and operands is not None:
                yield node, Step(function, operands)


def _operands(node: gs.Node, known: dict[int, int]) -> tuple[Operand, ...] | None:
    """What a node reads; None if it reads several values at once, or something that is not known."""
    operands: list[Operand] = []
    for tensor in node.inputs:
        if id(tensor) in known:
            operands.append(known[id(tensor)])
        elif tensor.is_empty():
            operands.append(None)
        elif (scalar := _scalar(node, tensor)) is not None:
            operands.append(scalar)
        else:
            return None
    return tuple(operands)


def _scalar(node: gs.Node, tensor: gs.Tensor) -> np.float64 | None:
    if not isinstance(tensor, gs.Constant) or tensor.values.dtype.kind != "f" or not tensor.values.size:
        return None
    values = tensor.values.astype(np.float64)
    if node.op == "PRelu":
        return np.float64(np.sqrt(np.square(values).mean()))
    return np.float64(values.flat[0]) if values.size == 1 else None
