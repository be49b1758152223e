"""RNN, GRU and LSTM as their steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.decomposition.cells import KINDS, Kind
from pruna_ir.passes.decomposition.recurrent import Cell, State, Weights, activations_of, add
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

MAX_STEPS = 1000


@dataclass(frozen=True)
class UnrollRecurrent(Rule):
    """Write a recurrent layer out step by step.

        before   LSTM(X [steps, batch, input], W, R, B)
        after    Concat(h_1, ..., h_steps), where a step is Gemm, Split, Sigmoid, Tanh, Mul and Add

    Both directions, peepholes, clipping, all activation functions, and lengths that are inputs (steps behind the
    length of a sequence keep the state, and write zeros).

    Does not fire if the shape of the data is not known, if there are more than 1000 steps, or if an activation function
    is not one of ONNX's.
    """

    name: ClassVar[str] = "unroll-recurrent"
    roots: ClassVar[tuple[str, ...]] = tuple(KINDS)

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root, "kind": KINDS[root.op]}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node, kind = match["node"], match["kind"]
        data, recurrence = static_shape(node.inputs[0]), static_shape(node.inputs[2])
        if data is None or recurrence is None:
            return Reason("the shapes of `{}` and `{}` are not known", node.inputs[0].name, node.inputs[2].name)
        steps = data[1 if node.attrs.get("layout", 0) else 0]
        if not 0 < steps <= MAX_STEPS:
            return Reason("{} steps, and at most {} are written out", steps, MAX_STEPS)
        match["directions"], match["hidden"] = recurrence[0], recurrence[2]
        found = [activations_of(node, kind.functions, direction) for direction in range(recurrence[0])]
        unknown = [name for name in found if isinstance(name, str)]
        if unknown:
            return Reason("the activation function {} is not known", unknown[0])
        match["activations"] = found
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        layer = _Layer(Body(rewriter, match["node"]), match)
        layer.write()


class _Layer:
    """One recurrent node while it is written out."""

    def __init__(self, body: Body, match: Match) -> None:
        self.body, self.node = body, match["node"]
        self.kind: Kind = match["kind"]
        self.hidden, self.directions = match["hidden"], match["directions"]
        self.activations = match["activations"]
        self.batch_first = bool(self.node.attrs.get("layout", 0))
        data = self.node.inputs[0]
        self.x = body.transpose(data, [1, 0, 2]) if self.batch_first else data
        self.steps, self.batch, self.inputs = (int(size) for size in self.x.shape)

    def write(self) -> None:
        """Make all nodes, and take the outputs over."""
        body, results = self.body, [self._direction(number) for number in range(self.directions)]
        shape = [self.steps, 1, self.batch, self.hidden]
        sequences = [body.reshape(body.concat(outputs, 0), shape) for outputs, _ in results]
        y = body.concat(sequences, 1)
        last = [[state.h for _, state in results], [state.c for _, state in results]]
        states = [self._last(parts) for parts in last[: len(self.node.outputs) - 1]]
        body.finish(body.transpose(y, [2, 0, 1, 3]) if self.batch_first else y, *states)

    def _last(self, parts: list[gs.Tensor | None]) -> gs.Tensor:
        """The states behind the last step, of all directions."""
        body, shape = self.body, [1, self.batch, self.hidden]
        there = [part for part in parts if part is not None]
        joined = body.concat([body.reshape(part, shape) for part in there], 0)
        return body.transpose(joined, [1, 0, 2]) if self.batch_first else joined

    def _direction(self, number: int) -> tuple[list[gs.Tensor], State]:
        """The outputs of all steps in their order, and the last state."""
        cell = self._cell(number)
        weights, body = cell.weights, self.body
        rows = body.reshape(self.x, [self.steps * self.batch, self.inputs])
        parts = body.split(cell.linear(rows, weights.w, weights.wb), 0, [self.batch] * self.steps)
        backwards = number == 1 or self.node.attrs.get("direction", "forward") == "reverse"
        state, outputs = State(weights.h, weights.c), list(parts)
        for step in range(self.steps)[:: -1 if backwards else 1]:
            after = self.kind.step(cell, parts[step], state)
            state, outputs[step] = self._masked(step, after, state)
        return outputs, state

    def _masked(self, step: int, after: State, before: State) -> tuple[State, gs.Tensor]:
        """The state and the output of a step; where a sequence is over, the state before and zeros."""
        lengths, body = self._input(4), self.body
        assert after.h is not None
        if lengths is None:
            return after, after.h
        runs = body.reshape(body("Greater", lengths, body.constant(step, lengths.dtype)), [self.batch, 1])
        zeros = body.constant(np.zeros((1, 1)), after.h.dtype)
        h = body("Where", runs, after.h, before.h or zeros)
        c = None if after.c is None else body("Where", runs, after.c, before.c or zeros)
        return State(h, c), body("Where", runs, after.h, zeros)

    def _cell(self, number: int) -> Cell:
        gates, size = self.kind.gates, self.hidden
        rows = gates * size
        w = self._piece(1, number, [rows, self.inputs])
        r = self._piece(2, number, [rows, size])
        bias = self._piece(3, number, [2 * rows])
        assert w is not None and r is not None
        wb, rb = self._biases(bias, rows)
        h, c = (self._piece(place, number, [self.batch, size], states=True) for place in (5, 6))
        weights = Weights(w, r, wb, rb, h, c, self._piece(7, number, [3 * size]))
        flags = {"input_forget": int(self.node.attrs.get("input_forget", 0))}
        return Cell(self.body, weights, size, self.activations[number], self.node.attrs.get("clip"), flags)

    def _biases(self, bias: gs.Tensor | None, rows: int) -> tuple[gs.Tensor | None, gs.Tensor | None]:
        """The biases to add to x W^T, and the one that GRU may add to h R^T of its hidden gate before the reset."""
        if bias is None:
            zeros = self.body.constant(np.zeros(self.hidden), self.x.dtype)
            return None, zeros if self._resets_late() else None
        body, size = self.body, self.hidden
        of_w, of_r = body.split(bias, 0, [rows, rows])
        if not self._resets_late():
            return add(body, of_w, of_r), None
        gates_r, hidden_r = body.split(of_r, 0, [2 * size, size])
        return body("Add", of_w, body.concat([gates_r, body.constant(np.zeros(size), self.x.dtype)], 0)), hidden_r

    def _resets_late(self) -> bool:
        return self.node.op == "GRU" and bool(self.node.attrs.get("linear_before_reset", 0))

    def _piece(self, place: int, number: int, shape: list[int], states: bool = False) -> gs.Tensor | None:
        """What belongs to a direction: part of the first axis, or, where the batch is first, of that of states."""
        tensor, body = self._input(place), self.body
        if tensor is None:
            return None
        axis = 1 if states and self.batch_first else 0
        return body.reshape(body.split(tensor, axis, [1] * self.directions)[number], shape)

    def _input(self, place: int) -> gs.Tensor | None:
        inputs = self.node.inputs
        return None if place >= len(inputs) or inputs[place].is_empty() else inputs[place]
