"""Writing Q/DQ pairs, integer weights and integer biases into a graph, as a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.calibration.scheme import QuantParams, Range, Scheme
from pruna_ir.passes.quantization.kernel import Kernel, weight_axis, weight_bits
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.passes.quantization.plan import Plan
from pruna_ir.passes.quantization.scale_groups import ScaleGroups
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.targets import Target

_INT32_MAX = 2**31 - 1
_FLOAT = np.dtype(np.float32)
# What stands for the operators in the names of nodes: of a small model the names are a tenth of the file.
_SHORT = {QUANTIZE: "Q", DEQUANTIZE: "DQ"}


_Place = tuple[gs.Node, int]


@dataclass
class _Use:
    """A tensor that gets a Q/DQ pair, and the places (node, input position) that read the pair's result."""

    tensor: gs.Tensor
    readers: list[_Place] = field(default_factory=list)


def insert_qdq(graph: gs.Graph, plan: Plan, target: Target, ranges: Mapping[str, Range]) -> None:
    """Rewrite `graph` so that the kernels of `plan` run in integers.

    `ranges` holds the range of every tensor that the plan calibrates. A tensor has one Q/DQ pair for all its readers;
    where a kernel writes integers, float readers and graph outputs read the pair's result as well.
    """
    _Inserter(graph, plan, target, ranges).run()


class _Inserter:
    def __init__(self, graph: gs.Graph, plan: Plan, target: Target, ranges: Mapping[str, Range]) -> None:
        self.graph, self.plan, self.target = graph, plan, target
        self.groups = ScaleGroups(plan, target, ranges, {id(tensor) for tensor in graph.outputs})
        self.rewriter = Rewriter(graph)
        self.position = {id(node): index for index, node in enumerate(graph.nodes)}
        self.writers = [kernel for kernel in plan.kernels if kernel.writes_integers]
        self.written = {id(tensor) for kernel in self.writers for tensor in kernel.outputs}
        self.constants: dict[tuple[object, ...], gs.Tensor] = {}
        self.node_names = NodeNames(graph)
        self.last: list[gs.Node] = []

    def run(self) -> None:
        self._absorb()
        uses, rescaled = self._uses(), self._rescaled()
        # Of all tensors, while the kernels still read the tensors themselves.
        params = [self.groups.params(use.tensor) for use in uses]
        for kernel in self.plan.kernels:
            self._weights(kernel, self.groups.params(kernel.activations()[0][1]))
        for use, found in zip(uses, params, strict=True):
            self._activation(use, found)
        for place, found in rescaled:
            self._rescale(place, found)
        self.rewriter.commit()
        self.graph.nodes.extend(self.last)

    def _absorb(self) -> None:
        """Remove activation functions that saturation computes: the range of the output ends where they clip."""
        for kernel in self.writers:
            if kernel.absorbed is not None and self.groups.saturates(kernel):
                self.rewriter.erase(kernel.absorbed)
                self.rewriter.take_over(kernel.node, kernel.output)

    def _uses(self) -> list[_Use]:
        uses: dict[int, _Use] = {}
        for kernel in self.plan.kernels:
            for index, tensor in kernel.activations():
                uses.setdefault(id(tensor), _Use(tensor)).readers.append((kernel.node, index))
        for tensor in (tensor for kernel in self.writers for tensor in kernel.outputs):
            if tensor.outputs or self.rewriter.is_output(tensor):
                uses.setdefault(id(tensor), _Use(tensor)).readers = _readers(tensor)
        return list(uses.values())

    def _rescaled(self) -> list[tuple[_Place, QuantParams]]:
        """The places that read a tensor with another scale than its own, and that scale."""
        return [
            ((kernel.node, index), params)
            for kernel in self.plan.kernels
            for index, tensor in kernel.activations()
            if (params := self.groups.other_params(kernel, tensor)) is not None
        ]

    def _rescale(self, place: _Place, params: QuantParams) -> None:
        """A second pair, behind the one that the tensor has."""
        node, index = place
        self.rewriter.set_input(node, index, self._pair(node, node.inputs[index], params))

    def _activation(self, use: _Use, params: QuantParams) -> None:
        before = min((node for node, _ in use.readers), key=lambda node: self.position[id(node)], default=None)
        if isinstance(use.tensor, gs.Constant):
            assert before is not None
            result = self._constant(before, use.tensor, use.tensor.values, self.target.activations, params)
        else:
            result = self._pair(before, use.tensor, params)
        for node, index in use.readers:
            self.rewriter.set_input(node, index, result)
        if id(use.tensor) in self.written and self.rewriter.is_output(use.tensor):
            self._become_output(use.tensor, result)

    def _become_output(self, tensor: gs.Tensor, result: gs.Tensor) -> None:
        """Let `result` be the graph output that `tensor` was, under its name."""
        tensor.name, result.name = self.rewriter.fresh_name(f"{tensor.name}_float"), tensor.name
        self.graph.outputs[:] = [result if output is tensor else output for output in self.graph.outputs]

    def _pair(self, before: gs.Node | None, tensor: gs.Tensor, params: QuantParams) -> gs.Tensor:
        """`tensor` -> QuantizeLinear -> DequantizeLinear, before a node (None: at the end of the graph)."""
        name = tensor.name
        scale, zero_point = self._params_constants(name, params)
        quantized = self.rewriter.variable(f"{name}_q", self.target.activations.dtype, tensor.shape)
        result = self.rewriter.variable(f"{name}_dq", _FLOAT, tensor.shape)
        for node in (
            self._node(QUANTIZE, name, [tensor, scale, zero_point], quantized),
            self._node(DEQUANTIZE, name, [quantized, scale, zero_point], result),
        ):
            if before is None:
                self.last.append(node)
            else:
                self.rewriter.insert(node, before)
        return result

    def _constant(
        self, before: gs.Node, tensor: gs.Constant, values: np.ndarray, scheme: Scheme, params: QuantParams
    ) -> gs.Tensor:
        """A constant stored in integers behind a DequantizeLinear; readers with equal parameters share it."""
        key = (tensor.name, scheme.dtype, params.axis, params.scale.tobytes(), params.zero_point.tobytes())
        if key in self.constants:
            return self.constants[key]
        name = tensor.name
        stored = self.rewriter.constant(f"{name}_q", scheme.quantize(values, params))
        result = self.rewriter.variable(f"{name}_dq", _FLOAT, values.shape)
        scale, zero_point = self._params_constants(name, params)
        # A zero point that is left out is zero. Runtimes look for those of weights, but not of biases.
        inputs = [stored, scale] if scheme.dtype == np.int32 else [stored, scale, zero_point]
        self.rewriter.insert(self._node(DEQUANTIZE, name, inputs, result, params.axis), before)
        self.constants[key] = result
        return result

    def _node(self, op: str, like: str, inputs: list[gs.Tensor], output: gs.Tensor, axis: int | None = None) -> gs.Node:
        attributes = {} if axis is None else {"axis": axis}
        return gs.Node(op, self.node_names.fresh(f"{like}_{_SHORT[op]}"), attributes, inputs, [output])

    def _params_constants(self, name: str, params: QuantParams) -> list[gs.Tensor]:
        """Scale and zero point as constants. Many are alike: the same array is stored once."""
        return [self._once(f"{name}_scale", params.scale), self._once("zero_point", params.zero_point)]

    def _once(self, name: str, values: np.ndarray) -> gs.Tensor:
        key = (values.dtype, values.shape, values.tobytes())
        if key not in self.constants:
            self.constants[key] = self.rewriter.constant(name, values)
        return self.constants[key]

    def _weights(self, kernel: Kernel, activation: QuantParams) -> None:
        weight, row, node = kernel.weight, kernel.row, kernel.node
        if weight is None or row.weight is None:
            return
        scheme = weight_scheme(kernel, self.target)
        params = scheme.of_weights(weight.values)
        scale = _useful_scales(params.scale, weight.values, scheme)
        if kernel.bias is not None:
            reader, index = kernel.bias
            bias = reader.inputs[index]
            values = np.broadcast_to(bias.values.astype(np.float64).reshape(-1), (kernel.channels,))
            scale = _room_for_bias(scale, activation.scale, values)
            self.rewriter.set_input(reader, index, self._bias(reader, bias, values, activation.scale * scale))
        stored = self._constant(node, weight, weight.values, scheme, replace(params, scale=scale))
        self.rewriter.set_input(node, row.weight, stored)

    def _bias(self, before: gs.Node, bias: gs.Constant, values: np.ndarray, scale: np.ndarray) -> gs.Tensor:
        """`values` (a number for each channel) in units of `scale`, a scalar or as many."""
        scheme = Scheme(np.dtype(self.target.bias_dtype), symmetric=True, axis=0 if scale.ndim else None)
        zero_point = np.zeros(scale.shape, scheme.dtype)
        return self._constant(
            before, bias, values, scheme, QuantParams(scale.astype(np.float32), zero_point, scheme.axis)
        )


def _readers(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    unique = {id(node): node for node in tensor.outputs}.values()
    return [(node, index) for node in unique for index, read in enumerate(node.inputs) if read is tensor]


def weight_scheme(kernel: Kernel, target: Target) -> Scheme:
    """The target's scheme for weights, along the axis of this op's output channels."""
    assert kernel.weight is not None
    axis = weight_axis(kernel.node, kernel.row, len(kernel.weight.shape))
    bits = weight_bits(kernel.node, kernel.weight.shape, target)
    return replace(target.weights, axis=axis if target.weights.axis is not None else None, bits=bits)


def _useful_scales(scale: np.ndarray, weights: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Scales with those of all-zero channels set to the smallest other one: their biases are then exact enough."""
    if scheme.axis is None:
        return scale
    others = tuple(axis for axis in range(weights.ndim) if axis != scheme.axis)
    used = np.abs(weights).max(axis=others) > 0
    return np.where(used, scale, scale[used].min() if used.any() else scale).astype(np.float32)


def _room_for_bias(scale: np.ndarray, activation: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Weight scales, widened where a bias in units of (activation scale * weight scale) would overflow 32 bits."""
    largest = np.abs(bias) if scale.ndim else np.abs(bias).max()
    needed = largest / (_INT32_MAX * 0.999) / np.float64(activation)
    widened: np.ndarray = np.maximum(scale, needed).astype(np.float32)
    return widened
