"""One step of RNN, GRU and LSTM, by the equations of the ONNX standard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.recurrent import Cell, State, add

# What a step makes of the state before it; the tensor is x W^T of the step, [batch, gates x hidden].
Step = Callable[[Cell, gs.Tensor, State], State]


@dataclass(frozen=True)
class Kind:
    """A recurrent operator: how many gates it has, the functions of a direction by default, and its step.

    A step is told the biases of R only where they cannot be added to those of W.
    """

    gates: int
    functions: tuple[str, ...]
    step: Step


def _rnn(cell: Cell, x: gs.Tensor, state: State) -> State:
    return State(cell.activate(0, _with_recurrence(cell, x, state.h, cell.weights.r)))


def _lstm(cell: Cell, x: gs.Tensor, state: State) -> State:
    body, before = cell.body, state.c
    parts = cell.gates(_with_recurrence(cell, x, state.h, cell.weights.r), 4)
    peepholes = [None] * 3 if cell.weights.peephole is None else cell.gates(cell.weights.peephole, 3, axis=0)

    def gate(place: int, memory: gs.Tensor | None) -> gs.Tensor:
        peephole = peepholes[place]
        seen = None if peephole is None or memory is None else body("Mul", peephole, memory)
        return cell.activate(0, _sum(cell, parts[place], seen))

    write = gate(0, before)
    keep = _one_minus(cell, write) if cell.flags.get("input_forget") else gate(2, before)
    candidate = body("Mul", write, cell.activate(1, parts[3]))
    memory = _sum(cell, candidate, None if before is None else body("Mul", keep, before))
    return State(body("Mul", gate(1, memory), cell.activate(2, memory)), memory)


def _gru(cell: Cell, x: gs.Tensor, state: State) -> State:
    body, size, before = cell.body, cell.hidden, state.h
    gates_x, hidden_x = body.split(x, 1, [2 * size, size])
    gates_r, hidden_r = body.split(cell.weights.r, 0, [2 * size, size])
    update, reset = (cell.activate(0, part) for part in cell.gates(_with_recurrence(cell, gates_x, before, gates_r), 2))
    bias = cell.weights.rb  # not None: that of the hidden gate stands inside of the reset
    if bias is not None:
        inner = bias if before is None else cell.linear(before, hidden_r, bias)
        hidden = _sum(cell, hidden_x, body("Mul", reset, inner))
    else:
        kept = None if before is None else body("Mul", reset, before)
        hidden = _with_recurrence(cell, hidden_x, kept, hidden_r)
    candidate = cell.activate(1, hidden)
    if before is None:
        return State(body("Mul", _one_minus(cell, update), candidate))
    return State(body("Add", candidate, body("Mul", update, body("Sub", before, candidate))))


def _with_recurrence(cell: Cell, x: gs.Tensor, h: gs.Tensor | None, weight: gs.Tensor) -> gs.Tensor:
    return x if h is None else cell.body("Add", x, cell.linear(h, weight))


def _sum(cell: Cell, first: gs.Tensor, *rest: gs.Tensor | None) -> gs.Tensor:
    total = add(cell.body, first, *rest)
    assert total is not None
    return total


def _one_minus(cell: Cell, x: gs.Tensor) -> gs.Tensor:
    return cell.body("Sub", cell.body.constant(1, x.dtype), x)


KINDS = {
    "RNN": Kind(1, ("Tanh",), _rnn),
    "GRU": Kind(3, ("Sigmoid", "Tanh"), _gru),
    "LSTM": Kind(4, ("Sigmoid", "Tanh", "Tanh"), _lstm),
}
