"""Activation functions that other operators can end in."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

# Their names by the interval that they clip to.
ACTIVATIONS = {(0.0, np.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def clip_interval(node: gs.Node) -> tuple[float, float] | None:
    """The interval that a Relu or Clip clips to; None for other nodes, and where it is computed."""
    if node.op == "Relu":
        return 0.0, np.inf
    if node.op != "Clip":
        return None
    limits = [-np.inf, np.inf]
    for position, tensor in enumerate(node.inputs[1:3]):
        if tensor.is_empty():
            continue
        if not isinstance(tensor, gs.Constant):
            return None
        limits[position] = float(np.asarray(tensor.values).reshape(()))
    return limits[0], limits[1]
