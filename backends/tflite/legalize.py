"""From any graph to one that the table can write: passes that leave an executable ONNX graph.

Open batch dimensions get a number, shapes become constants, and operators that LiteRT lacks are written in others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_graphsurgeon as gs

from pruna_ir.backends.fixed_shapes import bind_batch, bind_sizes, close_outputs, require_sizes
from pruna_ir.backends.tflite.order_pixel_shuffle import OrderPixelShuffle
from pruna_ir.backends.tflite.table import table
from pruna_ir.backends.tflite.weights import halve, store_in_int8
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose
from pruna_ir.pipeline.manager import PassManager

# Operators of which the table writes some forms, and rules write out the others.
_PARTLY = {"AveragePool", "DequantizeLinear", "MaxPool", "QuantizeLinear"}
_CLEAN = "restore-qdq,simplify,fuse-conv-bn,fuse-convtranspose-bn,fuse-gemm-bn,fuse-focus"
# Operators that the table writes in fewer than exporters do; and the opset that has the last of them.
_IDIOMS = "recognize-hard-sigmoid,recognize-hard-swish,recognize-gelu,recognize-mish"
_LATE = "recognize-gelu,recognize-mish"
_OPSET = 20
# What is done to weights in float for the type that they are stored in.
_WEIGHTS: dict[str, Callable[[gs.Graph], None]] = {"float16": halve, "int8": store_in_int8}


def legalize(model: Model, batch: int = 1, weights: str = "float32", sizes: Mapping[str, int] | None = None) -> Model:
    """A copy that the table can write, as far as it can be.

    `batch` is put for every open first dimension of an input. `weights` is the type that weights in float are stored
    in: the copy computes with what is left of them. `sizes` are those of other open dimensions, by their names.
    Raises E005 for what is still open.
    """
    legal = model.clone()
    bind_sizes(legal, sizes or {})
    bind_batch(legal, batch)
    require_sizes(legal, "tflite<shapes=[{}:128]>")
    PassManager.parse(_CLEAN).run(legal, target="tflite")
    _recognize(legal)
    if decompose(legal, {*table()} - _PARTLY, "tflite"):
        PassManager.parse(_CLEAN).run(legal, target="tflite")
    PassManager([OrderPixelShuffle()]).run(legal, target="tflite")
    if weights in _WEIGHTS:
        _WEIGHTS[weights](legal.graph)
    close_outputs(legal)
    return legal


def _recognize(model: Model) -> None:
    """Find operators in what they are written as; for a Gelu or a Mish the opset is raised to one that has it."""
    found = PassManager.parse(_IDIOMS).run(model, target="tflite")
    late = _LATE.split(",")
    if model.opset >= _OPSET or not any(remark.pass_name in late for remark in found.remarks):
        return
    raised = model.clone()
    try:
        PassManager.parse(f"raise-opset<to={_OPSET}>,{_LATE},fold-constants").run(raised, target="tflite")
    except PrunaError:  # not every model can be raised: then it stays as it is written
        return
    model.replace_with(raised)
