"""The layers of a quantized model: what each rounds, beside the float values that it rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.diagnosis.dynamic_products import DynamicProduct, dynamic_products
from pruna_ir.analysis.qdq import Pair, pairs, params_of, stored, writer_of
from pruna_ir.analysis.quantized import counterparts, float_node, writers_of
from pruna_ir.calibration.scheme import QuantParams

if TYPE_CHECKING:
    from pruna_ir.model import Model


@dataclass(frozen=True)
class Weight:
    """A constant that a layer reads: at a position of the float model's `reader`, in float and rounded.

    `exact` is None where the float model is not known: then nobody knows what the values were. `scales` is how many
    scales it has.
    """

    reader: str
    position: int
    exact: np.ndarray | None
    rounded: np.ndarray
    scales: int


@dataclass(frozen=True)
class Layer:
    """An operator of a quantized model (or, without a `node`, an input) with what it rounds.

    `wanted` names its tensor in the float model; `written` and `rounded` are the names before and after its Q/DQ pair,
    one name where it has none. `integers` is what the pair stores, `params` how, where that is known beforehand.
    `dynamic` names what a node of the float model writes whose first input is rounded at run time, by its own range.
    """

    op: str
    node: str
    wanted: str
    written: str
    rounded: str
    integers: str | None = None
    params: QuantParams | None = None
    weight: Weight | None = None
    dynamic: str | None = None


def layers_of(model: Model, reference: Model, *, knows_weights: bool = True) -> list[Layer]:
    """What a quantized model rounds, in graph order; `reference` is its float model.

    `knows_weights` False: the reference was made from the quantized model, its weights are the rounded ones.
    """
    graph = model.graph
    behind = {id(pair.source): pair for pair in reversed(list(pairs(graph)))}
    found = [_input(behind[id(tensor)]) for tensor in graph.inputs if id(tensor) in behind]
    writers = writers_of(reference.graph)
    known = set()
    for item in counterparts(graph, reference.graph):
        pair = behind.get(id(item.node.outputs[0]))
        same = float_node(item, writers)
        weight = None if same is None else _weight(item.node, same, knows_weights)
        known.add(id(item.node))
        found.append(_layer(item.node, item.wanted, item.rounded, pair, weight))
    for product in dynamic_products(graph):
        layer = _product(product, writers, knows_weights)
        if layer is not None:
            found.append(layer)
            known |= {id(product.integer), id(writer_of(product.product)), id(writer_of(product.result))}
    for node in graph.nodes:
        same = writers.get(node.outputs[0].name) if node.outputs and id(node) not in known else None
        weight = None if same is None or same.op != node.op else _weight(node, same, knows_weights)
        if weight is not None:  # a layer in float whose weights are stored in integers
            name = node.outputs[0].name
            found.append(_layer(node, name, name, None, weight))
    placed = {layer.written for layer in found}
    for pair in behind.values():  # float ops whose results are rounded for the kernels behind them
        writer = writer_of(pair.source)
        wanted = next((tensor.name for tensor in (pair.source, pair.result) if tensor.name in writers), None)
        if writer is not None and wanted is not None and pair.source.name not in placed:
            found.append(_layer(writer, wanted, pair.result.name, pair, None))
    order = {node.outputs[0].name: index for index, node in enumerate(graph.nodes) if node.outputs}
    return sorted(found, key=lambda layer: order.get(layer.written, -1))


def _input(pair: Pair) -> Layer:
    name = pair.source.name
    return Layer("input", name, name, name, pair.result.name, pair.integers.name, params_of(pair.quantize))


def _layer(node: gs.Node, wanted: str, rounded: str, pair: Pair | None, weight: Weight | None) -> Layer:
    name = node.name or node.outputs[0].name
    written = node.outputs[0].name
    if pair is None:
        return Layer(node.op, name, wanted, written, rounded, weight=weight)
    return Layer(node.op, name, wanted, written, rounded, pair.integers.name, params_of(pair.quantize), weight)


def _product(product: DynamicProduct, writers: Mapping[str, gs.Node], knows_weights: bool) -> Layer | None:
    """The layer of a product, which may have been a Gemm; None if the float model has no such product."""
    for tensor in (product.product, product.result):
        node = writers.get(tensor.name)
        exact = node.inputs[1] if node is not None and node.op in (product.op, "Gemm") else None
        if node is None or not isinstance(exact, gs.Constant):
            continue
        rounded = product.values / np.float32(node.attrs.get("alpha", 1.0))
        rounded = rounded.T if node.attrs.get("transB", 0) else rounded
        if exact.values.shape != rounded.shape:
            continue
        weight = Weight(tensor.name, 1, exact.values if knows_weights else None, rounded, product.scales)
        name = product.result.name if product.result.name in writers else tensor.name
        label = node.name or tensor.name
        return Layer(node.op, label, name, name, name, weight=weight, dynamic=tensor.name)
    return None


def _weight(node: gs.Node, same: gs.Node, knows_weights: bool) -> Weight | None:
    """The first constant matrix of a node that is stored in integers."""
    for position, (read, exact) in enumerate(zip(node.inputs, same.inputs, strict=False)):
        for values, scales in _unpacked(read):
            if values.ndim < 2 or not isinstance(exact, gs.Constant) or exact.values.shape != values.shape:
                continue
            name = same.outputs[0].name
            return Weight(name, position, exact.values if knows_weights else None, values, scales)
    return None


def _unpacked(tensor: gs.Tensor) -> Iterator[tuple[np.ndarray, int]]:
    """The values, and number of scales, of a constant stored in integers: behind DequantizeLinear, or Cast and Mul."""
    inside = stored(tensor)
    if inside is not None:
        yield inside.values(), inside.dequantize.inputs[1].values.size
        return
    multiply = writer_of(tensor)
    if multiply is None or multiply.op != "Mul":
        return
    for one, scale in (multiply.inputs, multiply.inputs[::-1]):
        cast = writer_of(one)
        integers = cast.inputs[0] if cast is not None and cast.op == "Cast" else None
        if isinstance(integers, gs.Constant) and isinstance(scale, gs.Constant):
            yield integers.values.astype(np.float32) * scale.values, scale.values.size
