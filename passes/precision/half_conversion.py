"""Rewriting a graph so that some nodes compute in halves: one Cast a tensor and direction, never two in a row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.passes.precision.half_types import FLOAT, Half, Places, is_float
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.rewriter import Rewriter

Reader = tuple[gs.Node, int]


@dataclass(frozen=True)
class HalfPlan:
    """What becomes a half.

    `places` holds the nodes that compute in halves, by identity. `followers` read whichever type a tensor has.
    `stored` are constants that nodes in float32 read: they are held in halves, with a Cast.
    """

    half: Half
    places: Mapping[int, Places] = field(default_factory=dict)
    followers: Collection[int] = ()
    stored: Collection[int] = ()


def convert(graph: gs.Graph, plan: HalfPlan) -> int:
    """Rewrite `graph` as the plan says; the number of constants that became halves.

    Every tensor has the type that its writer gives it, and a Cast for the readers of the other type, which stands
    right behind the writer.
    """
    return _Converter(graph, plan).run()


class _Converter:
    def __init__(self, graph: gs.Graph, plan: HalfPlan) -> None:
        self.graph, self.plan, self.half = graph, plan, plan.half
        self.rewriter = Rewriter(graph)
        self.names = NodeNames(graph)

    def run(self) -> int:
        readers = self._half_readers()
        written = self._halves_written()
        constants = [tensor for tensor in self._tensors() if isinstance(tensor, gs.Constant)]
        variables = [tensor for tensor in self._tensors() if not isinstance(tensor, gs.Constant)]
        converted = [self._constant(constant, readers.get(id(constant), [])) for constant in constants]
        for tensor in variables:
            if id(tensor) in written:
                self._written_in_half(tensor, readers.get(id(tensor), []))
            elif id(tensor) in readers:
                self._read_in_half(tensor, readers[id(tensor)])
        for node in self.graph.nodes:
            if id(node) in self.plan.places and node.op == "Cast":
                node.attrs["to"] = self.half.number
        self.rewriter.commit()
        return sum(converted)

    def _tensors(self) -> list[gs.Tensor]:
        """The float32 tensors of the graph itself, each once, in order."""
        held = [tensor for node in self.graph.nodes for tensor in [*node.inputs, *node.outputs]]
        found = {id(tensor): tensor for tensor in [*self.graph.inputs, *held] if not tensor.is_empty()}
        return [tensor for tensor in found.values() if is_float(tensor)]

    def _half_readers(self) -> dict[int, list[Reader]]:
        readers: dict[int, list[Reader]] = {}
        for node in self.graph.nodes:
            places = self.plan.places.get(id(node))
            for index in places.inputs if places is not None else ():
                readers.setdefault(id(node.inputs[index]), []).append((node, index))
        return readers

    def _halves_written(self) -> set[int]:
        written: set[int] = set()
        for node in self.graph.nodes:
            places = self.plan.places.get(id(node))
            written |= {id(node.outputs[index]) for index in places.outputs} if places is not None else set()
        return written

    def _constant(self, constant: gs.Constant, halves: list[Reader]) -> bool:
        """Make a half of a constant, for its readers in halves and, where it is `stored`, for the others too."""
        floats = _others(constant, halves)
        stored = id(constant) in self.plan.stored
        if not halves and not (stored and floats):
            return False
        with np.errstate(over="ignore"):  # infinities stay what they are
            values = constant.values.astype(self.half.dtype)
        is_output = self.rewriter.is_output(constant)
        if not floats and not is_output:
            constant.values = values
            return True
        converted = self.rewriter.constant(f"{constant.name}_{self.half.onnx_name}", values)
        self._redirect(halves, converted)
        if stored and floats and not is_output:
            self._redirect(floats, self._cast(converted, constant.name, None, FLOAT, onnx.TensorProto.FLOAT))
        return True

    def _written_in_half(self, tensor: gs.Tensor, halves: list[Reader]) -> None:
        """A tensor that becomes a half itself; those who need float32 read a Cast."""
        floats = [reader for reader in _others(tensor, halves) if id(reader[0]) not in self.plan.followers]
        tensor.dtype = self.half.variable_dtype
        is_output = self.rewriter.is_output(tensor)
        if not floats and not is_output:
            return
        restored = self._cast(tensor, tensor.name, tensor.inputs[0], FLOAT, onnx.TensorProto.FLOAT)
        self._redirect(floats, restored)
        if is_output:
            self._become_output(tensor, restored)

    def _read_in_half(self, tensor: gs.Tensor, halves: list[Reader]) -> None:
        """A tensor that stays float32 and that some read as a half."""
        writer = tensor.inputs[0] if tensor.inputs else None
        self._redirect(halves, self._cast(tensor, tensor.name, writer, self.half.variable_dtype, self.half.number))

    def _become_output(self, tensor: gs.Tensor, result: gs.Tensor) -> None:
        """Let `result` be the graph output that `tensor` was, under its name."""
        tensor.name, result.name = self.rewriter.fresh_name(f"{tensor.name}_{self.half.onnx_name}"), tensor.name
        self.graph.outputs[:] = [result if output is tensor else output for output in self.graph.outputs]

    def _cast(
        self, tensor: gs.Tensor, name: str, writer: gs.Node | None, dtype: np.dtype | int, number: int
    ) -> gs.Tensor:
        suffix = self.half.onnx_name if number == self.half.number else "float32"
        shape = None if tensor.shape is None else list(tensor.shape)
        result = gs.Variable(self.rewriter.fresh_name(f"{name}_{suffix}"), dtype, shape)
        node = gs.Node("Cast", self.names.fresh(f"{name}_Cast_{suffix}"), {"to": number}, [tensor], [result])
        self.rewriter.insert_after(node, writer)
        return result

    def _redirect(self, readers: list[Reader], tensor: gs.Tensor) -> None:
        for node, index in readers:
            self.rewriter.set_input(node, index, tensor)


def _others(tensor: gs.Tensor, known: list[Reader]) -> list[Reader]:
    """The readers of a tensor, those in sub-graphs included, that are not among the known ones."""
    taken = {(id(node), index) for node, index in known}
    unique = {id(node): node for node in tensor.outputs}.values()
    places = [(node, index) for node in unique for index, read in enumerate(node.inputs) if read is tensor]
    return [(node, index) for node, index in places if (id(node), index) not in taken]
