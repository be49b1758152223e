"""The networks that a quantized one is timed against: the same in single and in half precision."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.backends.tensorrt.operators import refused
from pruna_ir.model import Model, external
from pruna_ir.passes.simplify.evaluate import evaluate
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.pipeline.rewriter import redirect
from pruna_ir.targets.tensorrt import TENSORRT


def float_networks(model: Model) -> dict[str, Model]:
    """The model without its Q/DQ, by precision. Their weights are the rounded ones: they are there to be timed.

    One that TensorRT would refuse (it has some operators in single precision only) is left out.
    """
    single = model.clone()
    _store_floats(single)
    single = float_form(single)
    _widen(single.graph)
    PassManager.parse("simplify").run(single, target=TENSORRT)
    half = single.clone()
    PassManager.parse("convert-fp16<kernels=any>").run(half, target=TENSORRT)
    return {name: found for name, found in (("fp16", half), ("fp32", single)) if not refused(found.graph)}


def _store_floats(model: Model) -> None:
    """Put what Q/DQ make of constants in their place: those of blocks and of 8-bit floats too."""
    known: set[int] = set()
    nodes = []
    for node in model.graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE) and (
            isinstance(node.inputs[0], gs.Constant) or id(node.inputs[0]) in known
        ):
            nodes.append(node)
            known.update(map(id, node.outputs))
    external.make_exportable(model.graph)
    values, _ = evaluate(nodes, model)
    for node in nodes:
        tensor = node.outputs[0]
        if node.op == DEQUANTIZE and tensor.name in values:
            redirect(tensor, gs.Constant(f"{tensor.name}_values", values[tensor.name]))
    model.graph.cleanup()


def _widen(graph: gs.Graph) -> None:
    """Make halves single."""
    half, single = np.dtype(np.float16), np.dtype(np.float32)
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.dtype == half:
            tensor.values = tensor.values.astype(single)
        elif tensor.dtype == half:
            tensor.dtype = single
    for node in graph.nodes:
        if node.op == "Cast" and node.attrs["to"] == onnx.TensorProto.FLOAT16:
            node.attrs["to"] = onnx.TensorProto.FLOAT
