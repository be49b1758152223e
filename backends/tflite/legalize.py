"""From any graph to one that the table can write: passes that leave an executable ONNX graph.

Open batch dimensions get a number, shapes become constants, and operators that LiteRT lacks are written in others.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from pruna_ir.backends.fixed_shapes import bind_batch, close_outputs
from pruna_ir.backends.tflite.table import table
from pruna_ir.backends.tflite.weights import halve, store_in_int8
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose
from pruna_ir.pipeline.manager import PassManager

# Operators of which the table writes some forms, and rules write out the others.
_PARTLY = {"AveragePool", "DequantizeLinear", "MaxPool", "QuantizeLinear"}
_CLEAN = "restore-qdq,simplify,fuse-conv-bn,fuse-convtranspose-bn,fuse-gemm-bn"
# What is done to weights in float for the type that they are stored in.
_WEIGHTS: dict[str, Callable[[gs.Graph], None]] = {"float16": halve, "int8": store_in_int8}


def legalize(model: Model, batch: int = 1, weights: str = "float32") -> Model:
    """A copy that the table can write, as far as it can be.

    `batch` is put for every open first dimension of an input. `weights` is the type that weights in float are stored
    in: the copy computes with what is left of them.
    """
    legal = model.clone()
    bind_batch(legal, batch)
    PassManager.parse(_CLEAN).run(legal, target="tflite")
    if decompose(legal, {*table()} - _PARTLY, "tflite"):
        PassManager.parse(_CLEAN).run(legal, target="tflite")
    if weights in _WEIGHTS:
        _WEIGHTS[weights](legal.graph)
    close_outputs(legal)
    return legal
