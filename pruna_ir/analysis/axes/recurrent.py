"""Rules of recurrent layers: their hidden units. The gates are stacked, and each unit has a row of every gate."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason

_X, _W, _R, _B, _LENGTHS, _HIDDEN, _CELL, _PEEPHOLES = range(8)
_UNITS = 2  # the axis of R that is contracted with the hidden state


def _recurrent(gates: int) -> AxisRule:
    """The rule of a layer with so many gates: W [directions, gates * hidden, input], R [.., gates * hidden, hidden]."""

    def relate(at: NodeAxes) -> Reason | None:
        hidden, batch_first = at.input(_R)[_UNITS], at.node.attrs.get("layout", 0)
        features = at.input(_X)[2]
        steps, batch = at.input(_X)[:2][:: -1 if batch_first else 1]
        at.protect(steps, at.reason("walks along this axis"))
        at.equate(features, at.input(_W)[2])
        for index, stacked in ((_W, gates), (_R, gates), (_B, 2 * gates), (_PEEPHOLES, 3)):
            if at.has(index):
                _tie(at, at.input(index)[1], hidden, stacked)
        for index in (_HIDDEN, _CELL):
            if at.has(index):
                _tie(at, at.input(index)[2], hidden, 1)
                at.equate(at.input(index)[0 if batch_first else 1], batch)
        if at.has(_LENGTHS):
            at.equate(at.input(_LENGTHS)[0], batch)
        _keep_directions(at, batch_first)
        for index in (_W, _R):
            at.produce(index, 1)
            at.contract((index, 2))
        state = [batch, None, hidden] if batch_first else [None, batch, hidden]
        every = [batch, None, None, hidden] if batch_first else [None, None, batch, hidden]
        for index, axes in enumerate((every, state, state)):
            if index < len(at.node.outputs) and at.node.outputs[index].name:
                at.write(axes, index)
        return None

    return AxisRule(relate, repair=_repair)


def _tie(at: NodeAxes, stacked: Labels, hidden: Labels, times: int) -> None:
    """An axis of so many rows for each unit."""
    if stacked is not None and hidden is not None:
        at.equate(stacked.reshape(times, -1), hidden)
    else:
        at.equate(stacked, hidden)


def _keep_directions(at: NodeAxes, batch_first: int) -> None:
    why = at.reason("walks in this direction")
    for index in (_W, _R, _B, _PEEPHOLES, _HIDDEN, _CELL):
        if at.has(index):
            axis = 1 if batch_first and index in (_HIDDEN, _CELL) else 0
            at.protect(at.input(index)[axis], why)


def _repair(node: gs.Node, repair: Repair) -> None:
    mask = repair.input(_R, _UNITS)
    if mask is not None:
        node.attrs["hidden_size"] = int(mask.sum())


RULES: dict[str, AxisRule] = {"GRU": _recurrent(3), "LSTM": _recurrent(4), "RNN": _recurrent(1)}
