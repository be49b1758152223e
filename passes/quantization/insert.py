"""Writing Q/DQ pairs, integer weights and integer biases into a graph, as a plan says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.scheme import QuantParams, Range, Scheme
from pruna_ir.passes.quantization.plan import Bounds, Kernel, Plan, weight_axis
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.targets import Output, Target

_INT32_MAX = 2**31 - 1
_FLOAT = np.dtype(np.float32)


@dataclass
class _Use:
    """A tensor that gets a Q/DQ pair, and the places (node, input position) that read the pair's result."""

    tensor: gs.Tensor
    readers: list[tuple[gs.Node, int]] = field(default_factory=list)


def insert_qdq(graph: gs.Graph, plan: Plan, target: Target, ranges: Mapping[str, Range]) -> None:
    """Rewrite `graph` so that the kernels of `plan` run in integers.

    `ranges` holds the range of every tensor that the plan calibrates. A tensor has one Q/DQ pair for all its readers;
    where a kernel writes integers, float readers and graph outputs read the pair's result as well.
    """
    _Inserter(graph, plan, target, ranges).run()


class _Inserter:
    def __init__(self, graph: gs.Graph, plan: Plan, target: Target, ranges: Mapping[str, Range]) -> None:
        self.graph, self.plan, self.target, self.ranges = graph, plan, target, ranges
        self.rewriter = Rewriter(graph)
        self.position = {id(node): index for index, node in enumerate(graph.nodes)}
        self.writers = {id(kernel.output): kernel for kernel in plan.kernels if kernel.writes_integers}
        self.params: dict[int, QuantParams] = {}
        self.constants: dict[tuple[str, bytes], gs.Tensor] = {}
        self.last: list[gs.Node] = []

    def run(self) -> None:
        self._absorb()
        uses = self._uses()
        for use in uses:
            self._params_of(use.tensor)  # all of them, while the kernels still read the tensors themselves
        for kernel in self.plan.kernels:
            self._weights(kernel, self._params_of(kernel.activations()[0][1]))
        for use in uses:
            self._activation(use, self._params_of(use.tensor))
        self.rewriter.commit()
        self.graph.nodes.extend(self.last)

    def _absorb(self) -> None:
        """Remove activation functions that saturation computes: the range of the output ends where they clip."""
        for kernel in self.writers.values():
            if kernel.absorbed is not None:
                self.rewriter.erase(kernel.absorbed)
                self.rewriter.take_over(kernel.node, kernel.output)

    def _uses(self) -> list[_Use]:
        uses: dict[int, _Use] = {}
        for kernel in self.plan.kernels:
            for index, tensor in kernel.activations():
                uses.setdefault(id(tensor), _Use(tensor)).readers.append((kernel.node, index))
        for kernel in self.writers.values():
            use = uses.setdefault(id(kernel.output), _Use(kernel.output))
            use.readers = _readers(use.tensor)
        return list(uses.values())

    def _params_of(self, tensor: gs.Tensor) -> QuantParams:
        """Scale and zero point of an activation; those of the input behind an op that only moves values."""
        if id(tensor) not in self.params:
            self.params[id(tensor)] = self._solve(tensor)
        return self.params[id(tensor)]

    def _solve(self, tensor: gs.Tensor) -> QuantParams:
        if isinstance(tensor, gs.Constant):
            values = tensor.values
            return self.target.activations.quantization(Range(float(values.min()), float(values.max())))
        writer = self.writers.get(id(tensor))
        if writer is not None and writer.row.output is Output.SAME:
            return self._params_of(writer.activations()[0][1])
        if writer is not None and writer.row.output is Output.UNION:
            return _union([self._params_of(read) for _, read in writer.activations()], self.target.activations)
        return fit(self.target.activations, self.ranges[tensor.name], writer.bounds if writer else Bounds())

    def _activation(self, use: _Use, params: QuantParams) -> None:
        before = min((node for node, _ in use.readers), key=lambda node: self.position[id(node)], default=None)
        if isinstance(use.tensor, gs.Constant):
            assert before is not None
            result = self._constant(before, use.tensor, use.tensor.values, self.target.activations, params)
        else:
            result = self._pair(before, use.tensor, params)
        for node, index in use.readers:
            node.inputs[index] = result
        for index, tensor in enumerate(self.graph.outputs):
            if tensor is use.tensor and id(tensor) in self.writers:
                tensor.name, result.name = f"{tensor.name}_float", tensor.name
                self.graph.outputs[index] = result

    def _pair(self, before: gs.Node | None, tensor: gs.Tensor, params: QuantParams) -> gs.Tensor:
        """`tensor` -> QuantizeLinear -> DequantizeLinear, before a node (None: at the end of the graph)."""
        name = tensor.name
        scale, zero_point = self._params_constants(name, params)
        quantized = self.rewriter.variable(f"{name}_quantized", self.target.activations.dtype, tensor.shape)
        result = self.rewriter.variable(f"{name}_dequantized", _FLOAT, tensor.shape)
        pair = (
            gs.Node("QuantizeLinear", f"{name}_QuantizeLinear", {}, [tensor, scale, zero_point], [quantized]),
            gs.Node("DequantizeLinear", f"{name}_DequantizeLinear", {}, [quantized, scale, zero_point], [result]),
        )
        for node in pair:
            if before is None:
                self.last.append(node)
            else:
                self.rewriter.insert(node, before)
        return result

    def _constant(
        self, before: gs.Node, tensor: gs.Constant, values: np.ndarray, scheme: Scheme, params: QuantParams
    ) -> gs.Tensor:
        """A constant stored in integers behind a DequantizeLinear; readers with equal parameters share it."""
        key = (tensor.name, params.scale.tobytes())
        if key in self.constants:
            return self.constants[key]
        name = tensor.name
        stored = self.rewriter.constant(f"{name}_quantized", scheme.quantize(values, params))
        result = self.rewriter.variable(f"{name}_dequantized", _FLOAT, values.shape)
        attributes = {} if params.axis is None else {"axis": params.axis}
        inputs = [stored, *self._params_constants(name, params)]
        self.rewriter.insert(
            gs.Node("DequantizeLinear", f"{result.name}_DequantizeLinear", attributes, inputs, [result]), before
        )
        self.constants[key] = result
        return result

    def _params_constants(self, name: str, params: QuantParams) -> list[gs.Constant]:
        scale = self.rewriter.constant(f"{name}_scale", params.scale)
        return [scale, self.rewriter.constant(f"{name}_zero_point", params.zero_point)]

    def _weights(self, kernel: Kernel, activation: QuantParams) -> None:
        weight, row, node = kernel.weight, kernel.row, kernel.node
        if weight is None or row.weight is None:
            return
        scheme = weight_scheme(kernel, self.target)
        params = scheme.of_weights(weight.values)
        scale = _useful_scales(params.scale, weight.values, scheme)
        if row.bias is not None and len(node.inputs) > row.bias and not node.inputs[row.bias].is_empty():
            bias = node.inputs[row.bias]
            values = np.broadcast_to(bias.values.astype(np.float64).reshape(-1), scale.shape)
            scale = _room_for_bias(scale, activation.scale, values)
            node.inputs[row.bias] = self._bias(node, bias, values, (activation.scale * scale).astype(np.float32))
        node.inputs[row.weight] = self._constant(node, weight, weight.values, scheme, replace(params, scale=scale))

    def _bias(self, before: gs.Node, bias: gs.Constant, values: np.ndarray, scale: np.ndarray) -> gs.Tensor:
        scheme = Scheme(np.dtype(self.target.bias_dtype), symmetric=True, axis=0)
        return self._constant(before, bias, values, scheme, QuantParams(scale, np.zeros(scale.shape, scheme.dtype), 0))


def _readers(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    unique = {id(node): node for node in tensor.outputs}.values()
    return [(node, index) for node in unique for index, read in enumerate(node.inputs) if read is tensor]


def weight_scheme(kernel: Kernel, target: Target) -> Scheme:
    """The target's scheme for weights, along the axis of this op's output channels."""
    assert kernel.weight is not None
    axis = weight_axis(kernel.node, kernel.row, len(kernel.weight.shape))
    return replace(target.weights, axis=axis if target.weights.axis is not None else None)


def _union(inputs: Sequence[QuantParams], scheme: Scheme) -> QuantParams:
    """Parameters for what any of the inputs can represent; those of the widest input where it holds all others."""
    ranges = [scheme.range(params) for params in inputs]
    low, high = min(float(item.minimum) for item in ranges), max(float(item.maximum) for item in ranges)
    for params, item in zip(inputs, ranges, strict=True):
        if item.minimum == low and item.maximum == high:
            return params
    return scheme.quantization(Range(low, high))


def fit(scheme: Scheme, found: Range, bounds: Bounds) -> QuantParams:
    """Scale and zero point for a range within the bounds of an absorbed activation function.

    The largest representable value must not pass the bound by even a rounding error, or the runtime keeps the Clip
    and the kernel in float.
    """
    low, high = max(float(found.minimum), bounds.low), min(float(found.maximum), bounds.high)
    params = scheme.quantization(Range(low, high))
    while _exceeds(scheme, params, bounds):
        params = replace(params, scale=np.nextafter(params.scale, np.float32(0)))
    return params


def _exceeds(scheme: Scheme, params: QuantParams, bounds: Bounds) -> bool:
    zero_point = np.float32(params.zero_point)
    top = (np.float32(scheme.highest) - zero_point) * params.scale
    bottom = (np.float32(scheme.lowest) - zero_point) * params.scale
    return bool(top > np.float32(bounds.high) or (bottom < np.float32(bounds.low) and bounds.low < 0))


def _useful_scales(scale: np.ndarray, weights: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Scales with those of all-zero channels set to the smallest other one: their biases are then exact enough."""
    if scheme.axis is None:
        return scale
    others = tuple(axis for axis in range(weights.ndim) if axis != scheme.axis)
    used = np.abs(weights).max(axis=others) > 0
    return np.where(used, scale, scale[used].min() if used.any() else scale).astype(np.float32)


def _room_for_bias(scale: np.ndarray, activation: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Weight scales, widened where a bias in units of (activation scale * weight scale) would overflow 32 bits."""
    needed = np.abs(bias) / (_INT32_MAX * 0.999) / np.float64(activation)
    widened: np.ndarray = np.maximum(scale, needed).astype(np.float32)
    return widened
