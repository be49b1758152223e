"""Activations without corners behind a layer: which rows count, and for how much, when errors are seen through them.

With q what the layer writes now and t what it should write, the error behind the activation a is s (q - t) with s the
slope of the chord from q to t. Least squares with the weights |s|, again and again, minimize the loss that matches the
activation, which is convex where that rises (Auer, Herbster & Warmuth 1996): for a sigmoid, cross entropy. Where the
activation is flat, nothing is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

Function = Callable[[np.ndarray], np.ndarray]

# Shorter chords are taken this long: their slope is that of the tangent.
_SHORTEST = 1e-3


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * values))


def _gelu(values: np.ndarray) -> np.ndarray:
    """By the tangent, which is within 0.001 of the error function: enough for weights."""
    return np.asarray(0.5 * values * (1 + np.tanh(0.7978845608 * (values + 0.044715 * values**3))))


FUNCTIONS: dict[str, Function] = {
    "Gelu": _gelu,
    "HardSwish": lambda values: values * np.clip(values / 6 + 0.5, 0.0, 1.0),
    "Mish": lambda values: values * np.tanh(np.logaddexp(0.0, values)),
    "Sigmoid": _sigmoid,
    "Swish": lambda values: values * _sigmoid(values),
    "Tanh": np.tanh,
}
_SATURATING = frozenset({"Sigmoid", "Tanh"})


@dataclass(frozen=True)
class Smooth:
    """An activation by its name in the table."""

    name: str

    @property
    def saturates(self) -> bool:
        """Whether it is flat on both sides: then few rows count, and for each output of a layer others."""
        return self.name in _SATURATING

    @property
    def function(self) -> Function:
        """The activation itself."""
        return FUNCTIONS[self.name]

    def weights(self, now: np.ndarray, target: np.ndarray) -> np.ndarray:
        """How steep the chords are."""
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are the solver's to refuse
            gap = target - now
            gap = np.where(np.abs(gap) < _SHORTEST, gap.dtype.type(_SHORTEST), gap)
            return np.asarray(np.abs((self.function(now + gap) - self.function(now)) / gap))


def smooth_of(readers: list[gs.Node], outputs: frozenset[str]) -> Smooth | None:
    """The activation that the readers of a tensor x are: one node, or the two of x * Sigmoid(x).

    `outputs` are the names of the graph's outputs.
    """
    kinds = sorted(node.op for node in readers)
    if len(readers) == 1 and kinds[0] in FUNCTIONS and readers[0].attrs.get("alpha", 1.0) == 1.0:
        return Smooth(kinds[0])
    if kinds != ["Mul", "Sigmoid"]:
        return None
    product, gate = sorted(readers, key=lambda node: node.op)
    opened = gate.outputs[0]
    alone = len(opened.outputs) == 1 and opened.name not in outputs and any(one is opened for one in product.inputs)
    return Smooth("Swish") if alone else None
