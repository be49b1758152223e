"""Recurrent layers. With direction `reverse` the sequence is read, and answered, from its end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.activations import sigmoid
from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "scaled_tanh": np.tanh,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


@computes("rnn")
def rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    direction: str,
    output_sequence: Array | bool,
    activation: str,
    bias: Array | None = None,
) -> tuple[Array, Array]:
    """h = activation(W x + R h + b) for each step; the states, and the last."""
    activate = _ACTIVATIONS[activation]
    states, h = [], initial_h
    for step in _ordered(x, direction):
        h = activate(step @ weight_ih.T + h @ weight_hh.T + _or_zero(bias))
        states.append(h)
    return _answer(states, output_sequence), h


@computes("gru")
def gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    direction: str,
    output_sequence: Array | bool,
    recurrent_activation: str,
    activation: str,
    bias: Array | None = None,
    reset_after: Array | bool = False,
    input_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Gates r, o, z; the reset gate acts before the product with R, or after it and its bias with `reset_after`."""
    gate, activate = _ACTIVATIONS[recurrent_activation], _ACTIVATIONS[activation]
    r_r, r_o, r_z = np.split(weight_hh, 3)
    b_r, b_o, b_z = np.split(np.zeros(len(weight_hh), np.float32) if bias is None else bias, 3)
    states, h = [], initial_h
    for step in _ordered(x, direction):
        from_r, from_o, from_z = np.split(step @ weight_ih.T + _or_zero(input_bias), 3, -1)
        r = gate(from_r + h @ r_r.T + b_r)
        z = gate(from_z + h @ r_z.T + b_z)
        recurrent = r * (h @ r_o.T + b_o) if reset_after else (r * h) @ r_o.T + b_o
        h = (1 - z) * activate(from_o + recurrent) + z * h
        states.append(h)
    return _answer(states, output_sequence), h


@computes("lstm")
def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    direction: str,
    output_sequence: Array | bool,
    recurrent_activation: str,
    cell_activation: str,
    activation: str,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    clip: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gates i, f, o and the cell's z. The states of both directions stand beside each other."""
    functions = [_ACTIVATIONS[name] for name in (recurrent_activation, cell_activation, activation)]
    if direction != "bidirectional":
        sequence, h, c = _lstm_sequence(
            _ordered(x, direction), initial_h, initial_c, (weight_ih, weight_hh, bias, peephole), functions, clip
        )
        return _answer(sequence, output_sequence), h, c
    assert weight_ih_back is not None and weight_hh_back is not None
    hs, cs = np.split(initial_h, 2, -1), np.split(initial_c, 2, -1)
    there, h_there, c_there = _lstm_sequence(x, hs[0], cs[0], (weight_ih, weight_hh, bias, peephole), functions, clip)
    back, h_back, c_back = _lstm_sequence(
        x[::-1], hs[1], cs[1], (weight_ih_back, weight_hh_back, bias_back, peephole_back), functions, clip
    )
    if output_sequence:
        states = [np.concatenate(pair, -1) for pair in zip(there, back[::-1], strict=True)]
    else:
        states = [np.concatenate([h_there, h_back], -1)]
    return np.stack(states), np.concatenate([h_there, h_back], -1), np.concatenate([c_there, c_back], -1)


Weights = tuple[Array, Array, Array | None, Array | None]


def _lstm_sequence(
    x: Array, h: Array, c: Array, weights: Weights, functions: list[Callable[[Array], Array]], clip: Array | None
) -> tuple[list[Array], Array, Array]:
    """The states of all steps, and the last state and cell."""
    weight_ih, weight_hh, bias, peephole = weights
    gate, cell, activate = functions
    p_i, p_f, p_o = np.split(np.zeros(3 * h.shape[-1], np.float32) if peephole is None else peephole, 3)
    states = []
    for step in x:
        i, f, o, z = np.split(step @ weight_ih.T + h @ weight_hh.T + _or_zero(bias), 4, -1)
        c = gate(f + c * p_f) * c + gate(i + c * p_i) * cell(z)
        if clip is not None:
            c = np.clip(c, -clip, clip)
        h = gate(o + c * p_o) * activate(c)
        states.append(h)
    return states, h, c


def _ordered(x: Array, direction: str) -> Array:
    return x[::-1] if direction == "reverse" else x


def _answer(states: list[Array], every: Array | bool) -> Array:
    return np.stack(states if every else states[-1:])


def _or_zero(values: Array | None) -> Array | float:
    return 0.0 if values is None else values
