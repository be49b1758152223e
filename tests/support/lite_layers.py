"""Single layers with Q/DQ around them, as a target's table has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from lite_nodes import Fixed
from onnx import helper

from pruna_ir.calibration.scheme import QuantParams, Range
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Scales, Target


@dataclass(frozen=True)
class Layer:
    """A node: activations as arrays, constants as `Fixed`, its weight and bias among these where the table has them.

    `behind` is an activation function of the graph between it and the QuantizeLinear.
    """

    op: str
    inputs: tuple[np.ndarray | Fixed | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    behind: str = ""
    outputs: int = 1
    opset: int = 21


class _Graph:
    def __init__(self, layer: Layer, target: Target) -> None:
        self.layer, self.target, self.row = layer, target, target.ops[layer.op]
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.feeds: dict[str, np.ndarray] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self.stored.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def pair(self, name: str, params: QuantParams, suffix: str = "") -> str:
        """QuantizeLinear and DequantizeLinear behind a tensor; the name of what comes out."""
        parts = [self.constant(f"{name}_{part}", value) for part, value in _parts(params)]
        self.nodes.append(helper.make_node("QuantizeLinear", [name, *parts], [f"{name}_q"]))
        self.nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *parts], [f"{name}_dq{suffix}"]))
        return f"{name}_dq{suffix}"

    def dequantized(self, name: str, integers: np.ndarray, params: QuantParams) -> str:
        parts = [self.constant(f"{name}_{part}", value) for part, value in _parts(params)]
        axis: dict[str, Any] = {} if params.axis is None else {"axis": params.axis}
        stored = self.constant(f"{name}_i", integers)
        self.nodes.append(helper.make_node("DequantizeLinear", [stored, *parts], [name], **axis))
        return name


def _parts(params: QuantParams) -> list[tuple[str, np.ndarray]]:
    return [("scale", params.scale), ("zero", params.zero_point)]


def quantized(layer: Layer, target: Target) -> tuple[Model, dict[str, np.ndarray]]:
    """The layer in the target's integers, and what to feed it."""
    graph = _Graph(layer, target)
    scheme, row = target.activations, graph.row
    data = [item for item in layer.inputs if isinstance(item, np.ndarray) and item.dtype == np.float32]
    shared = row.scales is Scales.EQUAL
    union = scheme.quantization(_range(np.concatenate([item.reshape(-1) for item in data])))
    names: list[str] = []
    read: list[QuantParams] = []
    for place, item in enumerate(layer.inputs):
        if item is None:
            names.append("")
        elif isinstance(item, Fixed):
            names.append(_stored(graph, f"x{place}", place, item.values, read))
        elif item.dtype == np.float32:
            params = union if shared else scheme.quantization(_range(item))
            graph.feeds[f"x{place}"] = item
            read.append(params)
            names.append(graph.pair(f"x{place}", params))
        else:
            graph.feeds[f"x{place}"] = item
            names.append(f"x{place}")
    written = [f"r{k}" for k in range(layer.outputs)]
    graph.nodes.append(helper.make_node(layer.op, names, written, name="layer", **layer.attributes))
    if layer.behind:
        graph.nodes.append(helper.make_node(layer.behind, ["r0"], ["f0"]))
        written = ["f0"]
    float_model = _model(graph, written)
    results = Session(float_model, optimize=False).run(graph.feeds)
    whole = np.concatenate([results[name].reshape(-1) for name in written])
    output = read[0] if row.scales is not Scales.FREE else scheme.quantization(_range(whole))
    if row.fixed is not None:
        output = row.fixed.params(scheme)
    outputs = [graph.pair(name, output) for name in written]
    return _model(graph, outputs), graph.feeds


def _stored(graph: _Graph, name: str, place: int, values: np.ndarray, read: list[QuantParams]) -> str:
    """A constant: the weight and the bias in integers, others as they are."""
    row, target = graph.row, graph.target
    if values.dtype != np.float32 or place not in (row.weight, row.bias):
        return graph.constant(name, values)
    if place == row.weight:
        transposed = row.transposed_by is not None and graph.layer.attributes.get(row.transposed_by, 0)
        axis = 0 if transposed else row.weight_axis % values.ndim
        scheme = type(target.weights)(target.weights.dtype, symmetric=True, axis=axis, narrow=True)
        params = scheme.of_weights(values)
        read.append(params)
        return graph.dequantized(name, scheme.quantize(values, params), params)
    scale = (read[0].scale * read[1].scale).astype(np.float32)
    params = QuantParams(scale, np.zeros(scale.shape, np.int32), 0)
    return graph.dequantized(name, np.rint(values / scale).astype(np.int32), params)


def _range(values: np.ndarray) -> Range:
    return Range(float(values.min()), float(values.max()))


def _model(graph: _Graph, outputs: list[str]) -> Model:
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in graph.feeds.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    made = helper.make_graph(graph.nodes, "g", inputs, results, initializer=graph.stored)
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.layer.opset)], ir_version=10)
    return Model.load(onnx.shape_inference.infer_shapes(proto, data_prop=True))
