"""One layer's rounding at a time: what it alone does to a model's outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from pruna_ir.analysis.diagnosis.distance import Distance
from pruna_ir.analysis.diagnosis.quantized_layers import Layer
from pruna_ir.analysis.qdq import integer_limits
from pruna_ir.runtime.session import Session

Feeds = Mapping[str, np.ndarray]


class Switchboard:
    """The float model with a switch for every layer: on, what the layer rounds is rounded, and nothing else is.

    One session answers for all layers: a model of hundreds of them is not loaded as often. `batches` are kept.
    """

    def __init__(
        self, reference: onnx.ModelProto, layers: Sequence[Layer], batches: Sequence[Feeds], threads: int = 1
    ) -> None:
        self._outputs = [value.name for value in reference.graph.output]
        self._switches = [f"switch/{index}" for index in range(len(layers))]
        self._session = Session(_wired(reference, layers, self._switches), threads=threads, optimize=False)
        self._read = {spec.name for spec in self._session.inputs}
        self._batches = batches
        self._exact = [self._run(feeds, None) for feeds in batches]

    def sqnr_db(self, layer: int) -> float:
        """The SQNR of the float output that the layer harms most, if it alone is rounded."""
        distances: dict[str, Distance] = {}
        for feeds, exact in zip(self._batches, self._exact, strict=True):
            found = self._run(feeds, layer)
            for name, wanted in exact.items():
                if wanted.dtype.kind == "f":
                    distances.setdefault(name, Distance()).add(wanted, found[name])
        return min((distance.sqnr_db for distance in distances.values()), default=np.inf)

    def _run(self, feeds: Feeds, layer: int | None) -> dict[str, np.ndarray]:
        switches = {name: np.array(index == layer) for index, name in enumerate(self._switches)}
        given = {name: value for name, value in {**feeds, **switches}.items() if name in self._read}
        return self._session.run(given, self._outputs)


def _wired(reference: onnx.ModelProto, layers: Sequence[Layer], switches: Sequence[str]) -> onnx.ModelProto:
    """The float model with a choice between exact and rounded at every layer's weight and output."""
    proto = onnx.ModelProto()
    proto.CopyFrom(reference)
    wiring = _Wiring(proto.graph)
    for switch, layer in zip(switches, layers, strict=True):
        wiring.add_weight(switch, layer)
        wiring.add_input(switch, layer)
        wiring.add_output(switch, layer)
        proto.graph.input.append(helper.make_tensor_value_info(switch, onnx.TensorProto.BOOL, []))
    wiring.finish()
    return proto


class _Wiring:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._writers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
        self._before: dict[int, list[onnx.NodeProto]] = {}
        self._after: dict[int, list[onnx.NodeProto]] = {}

    def add_weight(self, switch: str, layer: Layer) -> None:
        weight = layer.weight
        if weight is None or weight.exact is None:
            return
        index = self._writers[weight.reader]
        node = self._graph.node[index]
        rounded = self._constant(f"{switch}/weight", weight.rounded)
        chosen = f"{switch}/chosen_weight"
        choice = helper.make_node("Where", [switch, rounded, node.input[weight.position]], [chosen])
        node.input[weight.position] = chosen
        self._before.setdefault(index, []).append(choice)

    def add_input(self, switch: str, layer: Layer) -> None:
        """Round what one node reads, and no other, as it is rounded at run time."""
        if layer.dynamic is None:
            return
        index = self._writers[layer.dynamic]
        node = self._graph.node[index]
        exact, rounded, chosen = node.input[0], f"{switch}/rounded_input", f"{switch}/chosen_input"
        parts = [f"{switch}/input_{name}" for name in ("integers", "scale", "zero_point")]
        nodes = [
            helper.make_node("DynamicQuantizeLinear", [exact], parts),
            helper.make_node("DequantizeLinear", parts, [rounded]),
            helper.make_node("Where", [switch, rounded, exact], [chosen]),
        ]
        node.input[0] = chosen
        self._before.setdefault(index, []).extend(nodes)

    def add_output(self, switch: str, layer: Layer) -> None:
        params = layer.params
        if params is None or params.scale.ndim:
            return
        low, high = integer_limits(params.zero_point.dtype)
        zero = int(params.zero_point)
        scale = self._constant(f"{switch}/scale", params.scale)
        ends = [
            self._constant(f"{switch}/{name}", np.array(end - zero, params.scale.dtype))
            for name, end in (("low", low), ("high", high))
        ]
        index = self._writers.get(layer.wanted)
        exact, chosen = self._exact_and_chosen(switch, layer.wanted, index)
        steps = [f"{switch}/{name}" for name in ("divided", "whole", "clipped", "rounded")]
        nodes = [
            helper.make_node("Div", [exact, scale], [steps[0]]),
            helper.make_node("Round", [steps[0]], [steps[1]]),
            helper.make_node("Clip", [steps[1], *ends], [steps[2]]),
            helper.make_node("Mul", [steps[2], scale], [steps[3]]),
            helper.make_node("Where", [switch, steps[3], exact], [chosen]),
        ]
        (self._before.setdefault(0, []) if index is None else self._after.setdefault(index, [])).extend(nodes)

    def _exact_and_chosen(self, switch: str, name: str, index: int | None) -> tuple[str, str]:
        """The names of a tensor without and with rounding; what reads it reads the latter."""
        if index is not None:
            outputs = self._graph.node[index].output
            outputs[list(outputs).index(name)] = f"{switch}/exact"
            return f"{switch}/exact", name
        for node in self._graph.node:  # a graph input: nobody writes it
            for position, read in enumerate(node.input):
                if read == name:
                    node.input[position] = f"{switch}/chosen"
        return name, f"{switch}/chosen"

    def _constant(self, name: str, values: np.ndarray) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def finish(self) -> None:
        """Put the new nodes in their places."""
        ordered: list[onnx.NodeProto] = []
        for index, node in enumerate(self._graph.node):
            ordered += [*self._before.get(index, ()), node, *self._after.get(index, ())]
        del self._graph.node[:]
        self._graph.node.extend(ordered)
