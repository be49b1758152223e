"""Running a model piece by piece over the same batches, so that what comes later sees what was changed before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from pruna_ir.runtime.session import Session

Feeds = Mapping[str, np.ndarray]
_LAZY = "DequantizeLinear"


class Stages:
    """A model that stops at chosen tensors, in graph order, where a shift can be added to what was computed.

    Between two stops only the tensors that later nodes read are kept, and those in integers where they have that form:
    every node runs once or, if it writes a tensor that is stopped at, twice. ONNX Runtime's optimizations are off.
    """

    def __init__(self, proto: onnx.ModelProto, batches: Sequence[Feeds], threads: int = 1) -> None:
        graph = proto.graph
        self._proto, self._threads = proto, threads
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._lazy = {node.output[0]: node for node in graph.node if self._is_lazy(node)}
        self._nodes = [node for node in graph.node if not self._is_lazy(node)]
        self._needs = [self._stored_form(_reads(node)) for node in self._nodes]
        self._position = {name: index for index, node in enumerate(self._nodes) for name in node.output if name}
        self._last_read = {name: index for index, names in enumerate(self._needs) for name in names}
        self._shifts: dict[str, np.ndarray] = {}
        self._next = 0
        self._live: list[dict[str, np.ndarray]] = [dict(batch) for batch in batches]

    def run_to(self, tensor: str) -> Iterator[np.ndarray]:
        """Values of a tensor, batch by batch: all of them must be taken. Stops are asked for in graph order."""
        stop = self._position[tensor]
        if stop < self._next:
            raise ValueError(f"`{tensor}` is computed before the last stop")
        part = range(self._next, stop + 1)
        written = [name for index in part[:-1] for name in self._nodes[index].output if name]
        kept = [name for name in written if self._last_read.get(name, -1) >= stop]
        session = Session(self._stage(part, [*kept, tensor]), threads=self._threads, optimize=False)
        names = {spec.name for spec in session.inputs}
        for live in self._live:
            values = session.run({name: value for name, value in live.items() if name in names})
            yield values[tensor]
            live.update((name, values[name]) for name in kept)
            for name in [name for name in live if self._last_read.get(name, -1) < stop]:
                del live[name]
        self._next = stop

    def shift(self, tensor: str, amount: np.ndarray) -> None:
        """Add `amount` (broadcast) to the tensor that was stopped at last, for all that reads it."""
        self._shifts[tensor] = amount

    def _is_lazy(self, node: onnx.NodeProto) -> bool:
        """Whether a node is computed where its result is read, so that it is kept in integers until then."""
        return node.op_type == _LAZY and all(name in self._constants or not name for name in node.input[1:])

    def _stored_form(self, names: list[str]) -> list[str]:
        """The names of the tensors that are kept for what reads `names`."""
        return [self._lazy[name].input[0] if name in self._lazy else name for name in names]

    def _stage(self, part: range, outputs: Sequence[str]) -> onnx.ModelProto:
        """The nodes of `part` as a model, with the dequantizations and constants that they read."""
        nodes = [self._nodes[index] for index in part]
        reads = dict.fromkeys(name for node in nodes for name in _reads(node))
        lazy = [self._lazy[name] for name in reads if name in self._lazy]
        reads.update(dict.fromkeys(name for node in lazy for name in node.input if name))
        graph = onnx.GraphProto(name="stage")
        graph.node.extend(lazy)
        for node in nodes:
            graph.node.extend(self._shifted(node, graph))
        graph.initializer.extend(self._constants[name] for name in reads if name in self._constants)
        graph.input.extend(_value_info(name, value) for name, value in self._live[0].items() if name in reads)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        stage = onnx.ModelProto(ir_version=self._proto.ir_version, graph=graph)
        stage.opset_import.extend(self._proto.opset_import)
        return stage

    def _shifted(self, node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
        """The node, and behind it what adds the shift of its output."""
        name = node.output[0] if node.output else ""
        if name not in self._shifts:
            return [node]
        moved = onnx.NodeProto()
        moved.CopyFrom(node)
        moved.output[0] = f"{name}/unshifted"
        graph.initializer.append(onnx.numpy_helper.from_array(self._shifts[name], f"{name}/shift"))
        return [moved, onnx.helper.make_node("Add", [moved.output[0], f"{name}/shift"], [name])]


def _reads(node: onnx.NodeProto) -> list[str]:
    """What a node reads, the nodes of its sub-graphs included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for body in [attribute.g, *attribute.graphs]:
            names += [name for inner in body.node for name in _reads(inner)]
            names += [output.name for output in body.output]
    return names


def _value_info(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(
        name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
    )
