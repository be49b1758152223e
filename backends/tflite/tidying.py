"""Operators that a program can do without: those that nobody reads, and moves that cancel or follow on each other."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.program import Operator, Program, Tensor

_RESHAPE, _TRANSPOSE = "RESHAPE", "TRANSPOSE"


def tidy(program: Program) -> None:
    """Join reshapes and transposes that follow on each other, and drop what does nothing or is not read."""
    _Tidying(program).run()


class _Tidying:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.writers = {id(tensor): operator for operator in program.operators for tensor in operator.outputs}
        self.border = {id(item.tensor) for item in [*program.inputs, *program.outputs]}
        # What a tensor is called that an operator which is dropped would have written.
        self.aliases: dict[int, Tensor] = {}

    def run(self) -> None:
        kept = []
        for operator in self.program.operators:
            operator.inputs = [tensor and self.aliases.get(id(tensor), tensor) for tensor in operator.inputs]
            if operator.code in (_RESHAPE, _TRANSPOSE):
                self._join(operator)
            if not self._does_nothing(operator):
                kept.append(operator)
        self.program.operators[:] = self._read(kept)

    def _join(self, operator: Operator) -> None:
        """Let a move start where the move of the same kind before it started."""
        source = operator.inputs[0]
        before = self.writers.get(id(source))
        if before is None or before.code != operator.code or id(source) in self.border:
            return
        if operator.code == _TRANSPOSE:
            first, second = _constant(before.inputs[1]), _constant(operator.inputs[1])
            if first is None or second is None:
                return
            order = operator.inputs[1]
            assert order is not None
            operator.inputs[1] = Tensor(f"{order.name}/joined", order.shape, order.dtype, data=first[second])
        operator.inputs[0] = before.inputs[0]

    def _does_nothing(self, operator: Operator) -> bool:
        """Whether a move is none; its result is then what it reads."""
        source, result = operator.inputs[0] if operator.inputs else None, operator.outputs[0]
        if source is None or id(result) in self.border or not _is_none(operator, source, result):
            return False
        self.aliases[id(result)] = source
        return True

    def _read(self, operators: list[Operator]) -> list[Operator]:
        read = {id(item.tensor) for item in self.program.outputs}
        kept = []
        for operator in reversed(operators):
            if any(id(tensor) in read for tensor in operator.outputs):
                kept.append(operator)
                read |= {id(tensor) for tensor in operator.inputs if tensor is not None}
        return kept[::-1]


def _is_none(operator: Operator, source: Tensor, result: Tensor) -> bool:
    if operator.code == _RESHAPE:
        return source.shape == result.shape
    order = _constant(operator.inputs[1]) if operator.code == _TRANSPOSE else None
    return order is not None and order.tolist() == list(range(order.size))


def _constant(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.data
