"""Some nodes of a model as a model of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from pruna_ir.passes.pruning.reconstruction.schedule import reads


def submodel(
    proto: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    values: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    constants: Iterable[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """The nodes, with the constants of `proto` that they read and more `constants`; `outputs` are what they give.

    What else they read are the inputs, whose types are those of `values`.
    """
    graph = onnx.GraphProto(name="part", node=nodes)
    graph.initializer.extend(constants)
    names = dict.fromkeys(name for node in nodes for name in reads(node))
    graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in names)
    held = {tensor.name for tensor in graph.initializer}
    graph.input.extend(_typed(name, values[name]) for name in names if name in values and name not in held)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return onnx.ModelProto(ir_version=proto.ir_version, graph=graph, opset_import=proto.opset_import)


def _typed(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, [None] * value.ndim)
