"""Activations without corners behind a layer: which rows count, and for how much, when errors are seen through them.

With q what the layer writes now and t what it should write, the error behind the activation a is s (q - t) with s the
slope of the chord from q to t. Least squares with the weights |s|, again and again, minimize the loss that matches the
activation, which is convex where that rises (Auer, Herbster & Warmuth 1996): for a sigmoid, cross entropy. Where the
activation is flat, nothing is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.elementwise import function_of

# Shorter chords are taken this long: their slope is that of the tangent.
_SHORTEST = 1e-3

ACTIVATIONS = frozenset({"Gelu", "HardSwish", "Mish", "Sigmoid", "Swish", "Tanh"})
_SATURATING = frozenset({"Sigmoid", "Tanh"})


@dataclass(frozen=True)
class Smooth:
    """An activation by the name of its operator; a function from an array to another of the same kind."""

    name: str

    @property
    def saturates(self) -> bool:
        """Whether it is flat on both sides: then few rows count, and for each output of a layer others."""
        return self.name in _SATURATING

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """What it makes of values."""
        function = function_of(self.name, {})
        assert function is not None
        return np.asarray(function(values), values.dtype)

    def weights(self, now: np.ndarray, target: np.ndarray) -> np.ndarray:
        """How steep the chords are."""
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are the solver's to refuse
            gap = target - now
            gap = np.where(np.abs(gap) < _SHORTEST, gap.dtype.type(_SHORTEST), gap)
            return np.asarray(np.abs((self(now + gap) - self(now)) / gap))


def smooth_of(readers: list[gs.Node], outputs: frozenset[str]) -> Smooth | None:
    """The activation that the readers of a tensor x are: one node, or the two of x * Sigmoid(x).

    `outputs` are the names of the graph's outputs.
    """
    kinds = sorted(node.op for node in readers)
    if len(readers) == 1 and kinds[0] in ACTIVATIONS and readers[0].attrs.get("alpha", 1.0) == 1.0:
        return Smooth(kinds[0])
    if kinds != ["Mul", "Sigmoid"]:
        return None
    product, gate = sorted(readers, key=lambda node: node.op)
    opened = gate.outputs[0]
    alone = len(opened.outputs) == 1 and opened.name not in outputs and any(one is opened for one in product.inputs)
    return Smooth("Swish") if alone else None
