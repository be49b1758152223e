"""A model whose nodes round what they read and write to 16 bits, group by group, under ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx.helper import make_node, make_tensor_value_info

from pruna_ir.backends.agreement import Agreement
from pruna_ir.runtime.capture import FLOATS, float_tensors
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model


class RoundedModel:
    """`model` with a switch for each group of nodes, which are given by the names of their first outputs.

    A node of a group that is switched on reads and writes float16, weights included, and computes between as it did.
    """

    def __init__(self, model: Model, groups: Sequence[Sequence[str]], samples: Sequence[Mapping[str, np.ndarray]]):
        reference = Session(model, optimize=False)
        self._samples = [dict(feeds) for feeds in samples]
        self._expected = [reference.run(feeds) for feeds in self._samples]
        floats = [spec.name for spec in reference.outputs if spec.dtype.kind == "f"]
        self._outputs = floats or [spec.name for spec in reference.outputs]
        switches = _Switches(model, groups)
        self._gates = switches.gates
        self._session = Session(switches.build(), optimize=False)
        self._count = len(groups)

    def largest(self, on: Sequence[int]) -> float:
        """The largest error of an output, relative to its range, with these groups switched on."""
        return max((item.worst for item in self._agreements(on)), default=np.inf)

    def noise(self, on: Sequence[int], samples: int | None = None) -> float:
        """The root of the mean squared error of the worst output, relative to its range, on the first `samples`."""
        return max((item.error for item in self._agreements(on, samples)), default=np.inf)

    def _agreements(self, on: Sequence[int], samples: int | None = None) -> list[Agreement]:
        """Each output beside that without rounding; none if finite values are lost."""
        gates = np.zeros(self._count, np.bool_)
        gates[list(on)] = True
        found = {name: Agreement(None) for name in self._outputs}
        for feeds, expected in zip(self._samples[:samples], self._expected, strict=False):
            answers = self._session.run({**feeds, self._gates: gates}, self._outputs)
            if not all(found[name].add(expected[name], answers[name]) for name in self._outputs):
                return []
        return list(found.values())


class _Switches:
    """Puts a Where between every tensor and its rounded values."""

    def __init__(self, model: Model, groups: Sequence[Sequence[str]]) -> None:
        self.proto = model.to_proto()
        self.count = len(groups)
        self.groups = {name: index for index, names in enumerate(groups) for name in names}
        graph = self.proto.graph
        constants = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
        given = {item.name for item in graph.input if item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self.floats = constants | given | self._written()
        self.writer = {name: self.groups.get(node.output[0]) for node in graph.node for name in node.output}
        names = {name for node in graph.node for name in (*node.input, *node.output)}
        self.gates = _free_name(names | {item.name for item in graph.input})
        self.nodes: list[onnx.NodeProto] = []
        self.made: set[str] = set()

    def build(self) -> onnx.ModelProto:
        """The model, with the input `gates` of a bool for each group."""
        graph = self.proto.graph
        count = self.count
        graph.input.append(make_tensor_value_info(self.gates, onnx.TensorProto.BOOL, [count]))
        for index in range(count):
            number = onnx.numpy_helper.from_array(np.array(index, np.int64), f"{self.gates}_{index}")
            graph.initializer.append(number)
            self.nodes.append(make_node("Gather", [self.gates, number.name], [f"{self.gates}_{index}_on"]))
        for node in graph.node:
            self._switch(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        return self.proto

    def _written(self) -> set[str]:
        session = float_tensors(self.proto)
        typed = {value.name: value.type.tensor_type.elem_type for value in self.proto.graph.value_info}
        return {name for name in session if typed.get(name, onnx.TensorProto.FLOAT) not in FLOATS[1:]}

    def _switch(self, node: onnx.NodeProto) -> None:
        group = self.groups.get(node.output[0])
        if group is None:
            self.nodes.append(node)
            return
        quantizes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        read = list(node.input[:1] if quantizes else node.input)
        changed = [self._rounded(name, group) for name in read]
        written = {name: f"{self.gates}_exact_{name}" for name in node.output if name in self.floats}
        switched = onnx.NodeProto()
        switched.CopyFrom(node)
        switched.input[: len(read)] = changed
        switched.output[:] = [written.get(name, name) for name in node.output]
        self.nodes.append(switched)
        for name, exact in written.items():
            self._where(exact, name, group)

    def _rounded(self, name: str, group: int) -> str:
        """What a node of a group reads: what another of the group has written is rounded already."""
        if name not in self.floats or self.writer.get(name, -1) == group:
            return name
        result = f"{self.gates}_{group}_of_{name}"
        if result not in self.made:
            self.made.add(result)
            self._where(name, result, group)
        return result

    def _where(self, name: str, result: str, group: int) -> None:
        short, back = f"{result}_short", f"{result}_back"
        self.nodes.append(make_node("Cast", [name], [short], to=onnx.TensorProto.FLOAT16))
        self.nodes.append(make_node("Cast", [short], [back], to=onnx.TensorProto.FLOAT))
        self.nodes.append(make_node("Where", [f"{self.gates}_{group}_on", back, name], [result]))


def _free_name(taken: set[str]) -> str:
    """What no tensor's name begins with."""
    name = "gates"
    while any(other.startswith(name) for other in taken):
        name = f"{name}_"
    return name
