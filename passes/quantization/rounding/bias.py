"""Moving the outputs of a layer by a constant for each channel."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter

_BIAS = {"Conv": 2, "Gemm": 2}


def shift_outputs(node: gs.Node, shift: np.ndarray, rewriter: Rewriter) -> bool:
    """Add `shift` (channels,) to what a Conv, Gemm or MatMul writes, by its bias; whether it has room for that.

    A Conv or Gemm without a bias gets one. A MatMul has none of its own: there it is the constant that the only node
    behind it adds.
    """
    if node.op == "MatMul":
        return _shift_addition(node, shift, rewriter)
    if node.op not in _BIAS or node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0:
        return False
    position = _BIAS[node.op]
    if len(node.inputs) <= position or node.inputs[position].is_empty():
        bias = rewriter.constant(f"{node.outputs[0].name}_bias", shift.astype(np.float32))
        rewriter.set_input(node, position, bias)
        return True
    return _shift_constant(node, position, shift, rewriter)


def _shift_addition(node: gs.Node, shift: np.ndarray, rewriter: Rewriter) -> bool:
    readers = node.outputs[0].outputs
    if rewriter.is_output(node.outputs[0]) or len(readers) != 1 or readers[0].op != "Add":
        return False
    return any(_shift_constant(readers[0], position, shift, rewriter) for position in (0, 1))


def _shift_constant(node: gs.Node, position: int, shift: np.ndarray, rewriter: Rewriter) -> bool:
    """Add to a constant input; another one takes its place where others read it too."""
    bias = node.inputs[position]
    if not isinstance(bias, gs.Constant) or bias.dtype != np.float32:
        return False
    values = (bias.values.astype(np.float64) + shift).astype(np.float32)
    if len(bias.outputs) == 1 and not rewriter.is_output(bias):
        bias.values = values
    else:
        rewriter.set_input(node, position, rewriter.constant(bias.name, values))
    return True
