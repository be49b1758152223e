"""Weights that a model has in float, in fewer bits: the graph then computes with what is left of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE
from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.model.values import constants
from pruna_ir.passes.quantization.kernel import row_of, weight_axis
from pruna_ir.targets.tflite import TFLITE

# Weights of fewer elements stay: scales and operators take what they save.
_SMALLEST = 1024


def halve(graph: gs.Graph) -> None:
    """Round weights to 16 bits where those hold all of them; they are stored so when the file is written."""
    for tensor in constants(graph):
        values = np.asarray(tensor.values) if tensor.dtype == np.float32 else np.zeros(())
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if values.ndim > 1 and np.isfinite(halved).all():
            tensor.values = halved.astype(np.float32)


def store_in_int8(graph: gs.Graph) -> None:
    """Put weights of layers in float into DequantizeLinear(int8), with a scale for each output channel."""
    stored: dict[tuple[int, int], gs.Variable] = {}
    for node in list(graph.nodes):
        row = row_of(node, TFLITE)
        if row is None or row.weight is None or row.weight >= len(node.inputs):
            continue
        weight = node.inputs[row.weight]
        if not isinstance(weight, gs.Constant) or weight.dtype != np.float32 or weight.values.size < _SMALLEST:
            continue
        if weight.values.ndim < 2 or (row.weight_rank is not None and weight.values.ndim > row.weight_rank):
            continue
        axis = weight_axis(node, row, weight.values.ndim)
        key = id(weight), axis
        if key not in stored:
            stored[key] = _dequantized(graph, weight, axis, before=node)
        node.inputs[row.weight] = stored[key]


def _dequantized(graph: gs.Graph, weight: gs.Constant, axis: int, before: gs.Node) -> gs.Variable:
    """What a weight is after it was stored in 8 bits."""
    scheme = replace(TFLITE.weights, axis=axis)
    params: QuantParams = scheme.of_weights(weight.values)
    integers = scheme.quantize(weight.values, params)
    inputs = [
        gs.Constant(f"{weight.name}_{part}", values)
        for part, values in (("quantized", integers), ("scale", params.scale), ("zero_point", params.zero_point))
    ]
    result = gs.Variable(f"{weight.name}_dequantized", np.float32, list(weight.values.shape))
    node = gs.Node(DEQUANTIZE, f"{weight.name}_dequantize", {"axis": axis}, inputs, [result])
    graph.nodes.insert(graph.nodes.index(before), node)
    return result
