"""The weights of a Conv or Gemm whose input channels are scaled."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.convolution import group
from pruna_ir.passes.fusion.parameters import rounded
from pruna_ir.remarks import Reason


def grouped(root: gs.Node, weight: np.ndarray) -> np.ndarray:
    """The weight of a Conv or Gemm as [groups, outputs / group, inputs / group, size of the kernel]."""
    if root.op == "Gemm":
        matrix = weight if root.attrs.get("transB", 0) else weight.T
        return matrix.reshape(1, *matrix.shape, 1)
    return weight.reshape(group(root), -1, weight.shape[1], int(np.prod(weight.shape[2:])))


def scaled_weight(root: gs.Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray | Reason:
    """The weight, given in float64 as `grouped` has it, times `scale`, [input channels], as the root stores it.

    A reason if the type cannot hold the result, or not as precisely as the weight.
    """
    dtype = root.inputs[1].dtype
    groups, _, inputs, _ = weight.shape
    with np.errstate(invalid="ignore", over="ignore"):
        exact = weight * scale.reshape(groups, 1, inputs, 1)
    stored = rounded(exact, dtype, "weight")
    if isinstance(stored, Reason):
        return stored
    # Next to the largest weight of its channel, each may be off by the rounding of the type, not by underflow.
    error, largest = (np.abs(values).max(axis=(1, 3), initial=0) for values in (stored - exact, exact))
    if (error > np.finfo(dtype).eps * largest).any():
        return Reason("the fused weight would lose precision in {}", np.dtype(dtype).name)
    if root.op == "Gemm":
        matrix = stored[0, :, :, 0]
        return matrix if root.attrs.get("transB", 0) else matrix.T
    return stored.reshape(root.inputs[1].shape)
