"""What the rules that make a Gemm have in common."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import as_float64, not_foldable
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason


def bias_per_column(gemm: gs.Node, columns: int) -> np.ndarray | Reason:
    """What a Gemm adds to each column, beta * C as [columns] in float64; zeros if it has no C.

    A reason if C is no floating-point constant or varies over rows.
    """
    if len(gemm.inputs) < 3 or gemm.inputs[2].is_empty():
        return np.zeros(columns)
    bias = gemm.inputs[2]
    reason = not_foldable([bias])
    if reason is not None:
        return reason
    if tuple(bias.shape) not in ((columns,), (1, columns), (1,), (1, 1), ()):
        return Reason("the bias `{}` of shape {} is not one value per column", bias.name, list(bias.shape))
    values = as_float64(bias).reshape(-1) * float(gemm.attrs.get("beta", 1.0))
    return np.broadcast_to(values, (columns,))


def put_gemm(gemm: gs.Node, product: gs.Node, last: gs.Node, rewriter: Rewriter) -> None:
    """Put a Gemm in the place of a product and of `last`, the one node that reads it and whose output it takes over."""
    rewriter.insert(gemm, before=last)
    output = last.outputs[0]
    output.inputs.clear()
    gemm.outputs.append(output)
    rewriter.erase(last)
    rewriter.erase(product)
    rewriter.touch(gemm)
