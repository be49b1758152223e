"""The restore-qdq pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.integer_ops import DYNAMIC, MOVES, IntegerOp, integer_op
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

_FLOAT = np.dtype(np.float32)
# Scale and zero point of a tensor in integers.
_Params = tuple[gs.Tensor, gs.Tensor]


@dataclass(frozen=True)
class RestoreQdq(Pass):
    """Write operators on integers as float operators between Q/DQ, the form that all other passes read.

    Before:  x8 -> QLinearConv(w8, b32) -> y8
    After:   x8 -> DQ -> Conv(DQ(w8), DQ(b32)) -> Q -> y8

    Covers QLinearConv, QLinearMatMul, ONNX Runtime's QGemm and QLinear operators, and the movements between them. The
    numbers are those of the integers but for results that lie between two of them, which float arithmetic may round
    to the other side. Operators whose scales are computed at run time (DynamicQuantizeLinear, ConvInteger,
    MatMulInteger) stay, and so do those in sub-graphs.
    """

    name: ClassVar[str] = "restore-qdq"
    effect: ClassVar[Effect] = Effect.APPROXIMATE
    before: ClassVar[tuple[str, ...]] = ("quantize",)

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite `model`."""
        result = PassResult()
        restorer = _Restorer(model.graph)
        for node in list(model.graph.nodes):
            reason = restorer.restore(node)
            if reason is not None:
                result.remarks.append(self.remark(RemarkKind.MISSED, node_name(node), "stays: {}", reason))
        restorer.rewriter.commit()
        if restorer.restored:
            model.adopt(model.to_proto())  # ONNX knows no shapes behind the runtime's own operators
            result.count("integer operators", restorer.restored)
        return result


def _known_type(tensor: gs.Tensor, zero_point: list[gs.Tensor]) -> bool:
    """Give a tensor the type of its zero point, where it has none; whether it has one now."""
    if tensor.dtype is None and zero_point:
        tensor.dtype = zero_point[0].dtype
    return tensor.dtype is not None


class _Restorer:
    """Goes through a graph in order, and knows how each tensor in integers is to be read."""

    def __init__(self, graph: gs.Graph) -> None:
        self.rewriter, self.names = Rewriter(graph), NodeNames(graph)
        self.params: dict[int, _Params] = {}
        self.restored = 0

    def restore(self, node: gs.Node) -> Reason | None:
        """Rewrite a node if it computes in integers; the reason if it does and cannot be."""
        if node.op == QUANTIZE and len(node.inputs) > 2:
            self.params[id(node.outputs[0])] = (node.inputs[1], node.inputs[2])
        elif node.op in DYNAMIC:
            return Reason("its scale is computed at run time")
        elif node.op in MOVES and id(node.inputs[0]) in self.params:
            self._move(node, self.params[id(node.inputs[0])])
        elif (row := integer_op(node)) is not None:
            return self._compute(node, row)
        return None

    def _move(self, node: gs.Node, params: _Params) -> None:
        moved = node.inputs[0]
        self._replace(node, node.op, node.attrs, [self._dequantized(node, moved, params), *node.inputs[1:]], params)

    def _compute(self, node: gs.Node, row: IntegerOp) -> Reason | None:
        for name, value in row.drops.items():
            found = node.attrs.get(name, value)
            if value is not None and found != value:
                return Reason("{} is {}", name, found)
        inputs = list(node.inputs)
        scale_at, operands = (0, range(2, len(inputs), 3)) if row.output is None else (row.output, row.operands)
        writes_float = len(inputs) <= scale_at or inputs[scale_at].is_empty()
        if not writes_float and not _known_type(node.outputs[0], inputs[scale_at + 1 : scale_at + 2]):
            return Reason("the type of `{}` is not known", node.outputs[0].name)
        read = [self._operand(node, row, at) for at in operands]
        if row.bias is not None and len(inputs) > row.bias and not inputs[row.bias].is_empty():
            bias = self._bias(node, inputs[row.bias], inputs[operands[0] + 1], inputs[operands[1] + 1])
            if bias is None:
                return Reason("the scale of its bias is not constant")
            read.append(bias)
        attributes = {name: value for name, value in node.attrs.items() if name not in row.drops}
        params = None if writes_float else (inputs[scale_at], self._zero_point(inputs, scale_at + 1, node.outputs[0]))
        self._replace(node, row.op, attributes, read, params)
        return None

    def _operand(self, node: gs.Node, row: IntegerOp, at: int) -> gs.Tensor:
        tensor, scale = node.inputs[at], node.inputs[at + 1]
        zero_point = self._zero_point(list(node.inputs), at + 2, tensor)
        axis = row.weight_axis
        if at == row.weight and row.op == "Gemm" and node.attrs.get("transB", 0):
            axis = 0
        many = isinstance(scale, gs.Constant) and scale.values.size > 1
        return self._dequantized(node, tensor, (scale, zero_point), axis % len(tensor.shape) if many else None)

    def _zero_point(self, inputs: list[gs.Tensor], at: int, like: gs.Tensor) -> gs.Tensor:
        if at < len(inputs) and not inputs[at].is_empty():
            return inputs[at]
        return self.rewriter.constant(f"{like.name}_zero_point", np.zeros((), like.dtype))

    def _bias(self, node: gs.Node, bias: gs.Tensor, first: gs.Tensor, second: gs.Tensor) -> gs.Tensor | None:
        if not isinstance(first, gs.Constant) or not isinstance(second, gs.Constant):
            return None
        step = np.squeeze(first.values * second.values)
        scale = self.rewriter.constant(f"{bias.name}_scale", step.astype(np.float32))
        zero_point = self.rewriter.constant(f"{bias.name}_zero_point", np.zeros(step.shape, np.int32))
        return self._dequantized(node, bias, (scale, zero_point), 0 if step.ndim else None)

    def _dequantized(self, before: gs.Node, tensor: gs.Tensor, params: _Params, axis: int | None = None) -> gs.Tensor:
        result = self.rewriter.variable(f"{tensor.name}_dq", _FLOAT, tensor.shape)
        attributes = {} if axis is None else {"axis": axis}
        name = self.names.fresh(f"{tensor.name}_DQ")
        self.rewriter.insert(gs.Node(DEQUANTIZE, name, attributes, [tensor, *params], [result]), before)
        return result

    def _replace(
        self, node: gs.Node, op: str, attributes: dict[str, object], inputs: list[gs.Tensor], params: _Params | None
    ) -> None:
        """Let a float operator, and a QuantizeLinear behind it, write what `node` writes."""
        written = node.outputs[0]
        new = self.rewriter.insert(gs.Node(op, node.name, attributes, inputs), node)
        self.rewriter.erase(node)
        self.restored += 1
        if params is None:
            new.outputs.append(written)
            return
        computed = self.rewriter.variable(f"{written.name}_float", _FLOAT, written.shape)
        new.outputs.append(computed)
        quantize = gs.Node(QUANTIZE, self.names.fresh(f"{written.name}_Q"), {}, [computed, *params], [written])
        self.rewriter.insert(quantize, node)
        self.params[id(written)] = params
