"""Matrix products in integers whose input is quantized at run time, by its own smallest and largest value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.passes.precision.half_types import FLOAT
from pruna_ir.passes.precision.products import Product
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason

_UINT8, _INT32 = np.dtype(np.uint8), np.dtype(np.int32)
_TO_FLOAT = {"to": int(onnx.TensorProto.FLOAT)}


@dataclass(frozen=True)
class DynamicProduct:
    """A product's weights as integers [inputs, outputs] with a scale for each output.

    `position` is that of its node in the graph's list, which survives cloning. `error` is the noise of rounding over
    the energy of the weights.
    """

    position: int
    weight: str
    integers: np.ndarray
    scale: np.ndarray
    error: float


def unfit(use: Product) -> Reason | None:
    """Why the input of a product cannot be quantized at run time."""
    node = use.node
    shape = node.inputs[0].shape
    if shape is None or len(shape) < 2:
        return Reason("`{}` is not known to be a matrix", node.inputs[0].name)
    has_bias = node.op == "Gemm" and len(node.inputs) > 2 and not node.inputs[2].is_empty()
    if has_bias and node.attrs.get("beta", 1.0) != 1.0 and not isinstance(node.inputs[2], gs.Constant):
        return Reason("its bias `{}` is multiplied by {}", node.inputs[2].name, node.attrs["beta"])
    return None


def dynamic_products(graph: gs.Graph, uses: Sequence[Product], scheme: Scheme) -> list[DynamicProduct]:
    """The products with their weights rounded by a target's scheme, those that lose least first."""
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    found = []
    for use in uses:
        matrix, columns = use.matrix, replace(scheme, axis=1)
        params = columns.of_weights(matrix)
        integers = columns.quantize(matrix, params)
        noise = np.square(columns.dequantize(integers, params) - matrix, dtype=np.float64).sum()
        energy = max(np.square(matrix, dtype=np.float64).sum(), np.finfo(np.float64).tiny)
        alpha = np.float32(use.node.attrs.get("alpha", 1.0)) if use.node.op == "Gemm" else np.float32(1)
        name = use.weight.name
        found.append(
            DynamicProduct(position[id(use.node)], name, integers, params.scale * alpha, float(noise / energy))
        )
    return sorted(found, key=lambda product: product.error)


def write(graph: gs.Graph, products: Sequence[DynamicProduct]) -> None:
    """Let these products of a graph, or of a copy of it, run in integers.

    y = x @ w + b  becomes  y = Cast(MatMulInteger(q, w8, zero point)) * (scale * scales of w) + b, where q, scale and
    zero point are DynamicQuantizeLinear(x), which all products of one x share. ONNX Runtime fuses the chain.
    """
    writer = _Writer(graph)
    for product in sorted(products, key=lambda product: product.position):
        writer.write(product)
    writer.rewriter.commit()


class _Writer:
    def __init__(self, graph: gs.Graph) -> None:
        self.nodes = list(graph.nodes)
        self.rewriter = Rewriter(graph)
        self.names = NodeNames(graph)
        self.quantized: dict[int, tuple[gs.Tensor, gs.Tensor, gs.Tensor]] = {}
        self.constants: dict[tuple[str, bytes], tuple[gs.Tensor, gs.Tensor]] = {}

    def write(self, product: DynamicProduct) -> None:
        node = self.nodes[product.position]
        output, name, shape = node.outputs[0], node.outputs[0].name, node.outputs[0].shape
        values, scale, zero_point = self._quantize(node)
        weights, scales = self._weights(product)
        bias = self._bias(node)
        sums = self.rewriter.variable(f"{name}_sums", _INT32, shape)
        floats = self.rewriter.variable(f"{name}_float", FLOAT, shape)
        both = self.rewriter.variable(f"{name}_scale", FLOAT, list(scales.shape))
        self._insert("MatMulInteger", node, [values, weights, zero_point], sums)
        self._insert("Cast", node, [sums], floats, _TO_FLOAT)
        self._insert("Mul", node, [scale, scales], both)
        self.rewriter.erase(node)
        if bias is None:
            self._insert("Mul", node, [floats, both], output)
            return
        scaled = self.rewriter.variable(f"{name}_scaled", FLOAT, shape)
        self._insert("Mul", node, [floats, both], scaled)
        self._insert("Add", node, [scaled, bias], output)

    def _quantize(self, node: gs.Node) -> tuple[gs.Tensor, gs.Tensor, gs.Tensor]:
        """Integers, scale and zero point of the product's input: once for all products that read it."""
        tensor = node.inputs[0]
        if id(tensor) not in self.quantized:
            name = tensor.name
            outputs = (
                self.rewriter.variable(f"{name}_q", _UINT8, tensor.shape),
                self.rewriter.variable(f"{name}_scale", FLOAT, []),
                self.rewriter.variable(f"{name}_zero_point", _UINT8, []),
            )
            label = self.names.fresh(f"{name}_DynamicQuantizeLinear")
            self.rewriter.insert(gs.Node("DynamicQuantizeLinear", label, {}, [tensor], list(outputs)), node)
            self.quantized[id(tensor)] = outputs
        return self.quantized[id(tensor)]

    def _weights(self, product: DynamicProduct) -> tuple[gs.Tensor, gs.Tensor]:
        key = (product.weight, product.scale.tobytes())
        if key not in self.constants:
            stored = self.rewriter.constant(f"{product.weight}_stored", product.integers)
            self.constants[key] = stored, self.rewriter.constant(f"{product.weight}_scale", product.scale)
        return self.constants[key]

    def _bias(self, node: gs.Node) -> gs.Tensor | None:
        """What a Gemm adds, times its factor."""
        if node.op != "Gemm" or len(node.inputs) < 3 or node.inputs[2].is_empty():
            return None
        bias, beta = node.inputs[2], np.float32(node.attrs.get("beta", 1.0))
        return bias if beta == 1 else self.rewriter.constant(f"{bias.name}_scaled", bias.values * beta)

    def _insert(
        self,
        op: str,
        before: gs.Node,
        inputs: list[gs.Tensor],
        output: gs.Tensor,
        attributes: dict[str, int] | None = None,
    ) -> None:
        label = self.names.fresh(f"{output.name}_{op}")
        new = self.rewriter.insert(gs.Node(op, label, attributes or {}, inputs), before)
        new.outputs.append(output)
        self.rewriter.touch(new)
