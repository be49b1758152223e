"""Activations behind a layer: which outputs to ask of it when only what the activation lets through matters.

With q what the layer writes now and t what it should write, the distance to T(q, t) bounds the error behind the
activation from above: rounds of least squares to T lower the bound. Where t is cut off, q may be anything that is cut
off on the same side; with a slope there, the bound is that of small steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class Rectifier:
    """An activation that is the identity between `low` and `high`, and goes on with `slope` outside."""

    low: float
    high: float
    slope: float = 0.0

    def wanted(self, now: np.ndarray, target: np.ndarray) -> np.ndarray:
        """T(q, t): t where it is let through, and otherwise q as far as that is cut off on the same side."""
        kind = target.dtype.type
        low, high = kind(self.low), kind(self.high)
        below = self._beyond(np.minimum(now, low), target, now > low, low)
        above = self._beyond(np.maximum(now, high), target, now < high, high)
        return np.where(target <= low, below, np.where(target >= high, above, target))

    def _beyond(self, free: np.ndarray, target: np.ndarray, inside: np.ndarray, end: np.floating) -> np.ndarray:
        """What to ask for where t is cut off at an end: with a slope, its image, or a step towards it."""
        if not self.slope or not np.isfinite(end):
            return free
        slope = target.dtype.type(self.slope)
        return np.asarray(np.where(inside, end + slope * (target - end), free + slope**2 * (target - free)))


def rectifier_of(node: gs.Node) -> Rectifier | None:
    """The rectifier that a node is: a Relu, a LeakyRelu, or a Clip between constants."""
    if node.op == "Relu":
        return Rectifier(0.0, np.inf)
    if node.op == "LeakyRelu":
        slope = float(node.attrs.get("alpha", 0.01))
        return Rectifier(0.0, np.inf, slope) if 0.0 <= slope < 1.0 else None
    if node.op != "Clip":
        return None
    limits = [-np.inf, np.inf]
    for position in (1, 2):
        if len(node.inputs) > position and not node.inputs[position].is_empty():
            if not isinstance(node.inputs[position], gs.Constant):
                return None
            limits[position - 1] = float(node.inputs[position].values.reshape(-1)[0])
    low, high = float(node.attrs.get("min", limits[0])), float(node.attrs.get("max", limits[1]))
    return Rectifier(low, high) if low < high else None
