"""8-bit floats (E4M3) in the place of int8: a network that was quantized to the one, written in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, params_of, stored
from pruna_ir.backends.tensorrt.types import type_name
from pruna_ir.diagnostics import error
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.tensorrt import TENSORRT

if TYPE_CHECKING:
    from pruna_ir.calibration.scheme import QuantParams
    from pruna_ir.model import Model

# The largest numbers of the two types.
_INT8, _E4M3 = 127, 448
# The first opset whose Q/DQ have them.
_OPSET = 19


def to_fp8(model: Model) -> None:
    """Change symmetric Q/DQ of int8 into those of FP8; others stay, for the rules to refuse.

    Activations saturate where they did. Weights are rounded once more, with one scale each: floats are as fine for
    small channels as for large ones, and kernels of FP8 have one. Raises E004 if integers come in or go out, M006 and
    M010 if the opset cannot be raised to the first one that has the type.
    """
    graph = model.graph
    ends = [tensor.name for tensor in (*graph.inputs, *graph.outputs) if type_name(tensor) == "int8"]
    if ends:
        message = f"`{ends[0]}` is int8, which `precision=fp8` has no place for"
        raise error("E004", message, help="let the model's inputs and outputs be floats")
    if model.opset < _OPSET:
        PassManager.parse(f"raise-opset<to={_OPSET}>").run(model, target=TENSORRT)
    for node in model.graph.nodes:
        params = params_of(node) if node.op in (QUANTIZE, DEQUANTIZE) else None
        if params is not None and params.zero_point.dtype == np.int8 and not params.zero_point.any():
            _change(node, params)


def _change(node: gs.Node, params: QuantParams) -> None:
    import ml_dtypes

    kind = np.dtype(ml_dtypes.float8_e4m3fn)
    inside = stored(node.outputs[0]) if node.op == DEQUANTIZE else None
    scale, read, name = np.asarray(params.scale * (_INT8 / _E4M3)), node.inputs[0], node.outputs[0].name
    if inside is not None:
        values = inside.values()
        scale = np.asarray(np.abs(values).max(initial=0) / _E4M3 or 1.0)
        read = gs.Constant(f"{name}_fp8", np.asarray(values / scale).astype(kind))
        node.attrs.pop("axis", None)
    scales = gs.Constant(f"{name}_fp8_scale", scale.astype(params.scale.dtype))
    node.inputs = [read, scales, gs.Constant(f"{name}_fp8_zero", np.zeros(scale.shape, kind))]
    if node.op == QUANTIZE:
        node.outputs[0].dtype = kind
