"""Products in integers whose input is quantized at run time, read out of a graph, whichever tool has put them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import writer_of

# The operator in float that each stands for.
_FLOAT_OP = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}
_QUANTIZE = "DynamicQuantizeLinear"


@dataclass(frozen=True)
class DynamicProduct:
    """x -> DynamicQuantizeLinear -> MatMulInteger(w8) -> Cast -> Mul(scale of x * scales of w) -> product (-> Add).

    `op` is what it is in float, of `source` and `values`, the weights that the integers stand for. `result` is the
    `product`, or what is left once a constant bias is added. `scales` is how many scales the weights have.
    """

    op: str
    quantize: gs.Node
    integer: gs.Node
    values: np.ndarray
    scales: int
    product: gs.Tensor
    result: gs.Tensor

    @property
    def source(self) -> gs.Tensor:
        """The input, in float."""
        return self.quantize.inputs[0]


def dynamic_products(graph: gs.Graph) -> Iterator[DynamicProduct]:
    """Those of a graph whose weights are constants, in its order; sub-graphs are not looked into."""
    outputs = {id(tensor) for tensor in graph.outputs}
    for node in graph.nodes:
        found = _match(node, outputs) if node.op in _FLOAT_OP else None
        if found is not None:
            yield found


def _match(node: gs.Node, outputs: set[int]) -> DynamicProduct | None:
    quantize = writer_of(node.inputs[0])
    weight = node.inputs[1]
    if quantize is None or quantize.op != _QUANTIZE or not isinstance(weight, gs.Constant):
        return None
    cast = _only_reader(node.outputs[0], "Cast", outputs)
    multiply = None if cast is None else _only_reader(cast.outputs[0], "Mul", outputs)
    scale = None if cast is None or multiply is None else _weight_scale(multiply, cast.outputs[0], quantize.outputs[1])
    zero = node.inputs[3] if len(node.inputs) > 3 and not node.inputs[3].is_empty() else None
    if multiply is None or scale is None or not isinstance(zero, gs.Constant | None):
        return None
    op, scales = _FLOAT_OP[node.op], scale.size
    if op == "Conv":  # the scale is that of the channels of the result
        scale = scale.reshape(-1, *[1] * (weight.values.ndim - 1))
    whole = weight.values.astype(np.int64) - (0 if zero is None else zero.values.astype(np.int64))
    values = np.asarray(whole.astype(np.float32) * scale)
    product = multiply.outputs[0]
    add = _only_reader(product, "Add", outputs)
    biased = add is not None and any(isinstance(tensor, gs.Constant) for tensor in add.inputs)
    result = add.outputs[0] if add is not None and biased else product
    return DynamicProduct(op, quantize, node, values, scales, product, result)


def _only_reader(tensor: gs.Tensor, op: str, outputs: set[int]) -> gs.Node | None:
    readers = tensor.outputs
    return readers[0] if len(readers) == 1 and readers[0].op == op and id(tensor) not in outputs else None


def _weight_scale(multiply: gs.Node, floats: gs.Tensor, scale: gs.Tensor) -> np.ndarray | None:
    """The constant that the input's scale is multiplied by, before it multiplies the sums."""
    both = next((writer_of(tensor) for tensor in multiply.inputs if tensor is not floats), None)
    if both is None or both.op != "Mul" or not any(tensor is scale for tensor in both.inputs):
        return None
    other = next((tensor for tensor in both.inputs if isinstance(tensor, gs.Constant)), None)
    return None if other is None else np.asarray(other.values)
