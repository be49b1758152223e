"""What a quantized model was before, and which of its tensors stand for which of the float model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, pairs, writer_of

if TYPE_CHECKING:
    from pruna_ir.model import Model


@dataclass(frozen=True)
class Counterpart:
    """A value of the quantized model beside the one that it stands for in the float model, by tensor names.

    `written` is what its node writes, `rounded` the same after its Q/DQ pair (`written` again where it has none). An
    activation function that saturation computes is part of the float value `wanted` and of `rounded`, not of `written`.
    """

    node: gs.Node
    written: str
    rounded: str
    wanted: str


@dataclass(frozen=True)
class Quantization:
    """What the passes that round have left behind: the float model as it was before, which nothing changes."""

    reference: Model

    def counterparts(self, model: Model) -> list[Counterpart]:
        """The values of `model`, which was quantized from `reference`, that have a counterpart there."""
        return list(counterparts(model.graph, self.reference.graph))


def counterparts(graph: gs.Graph, reference: gs.Graph) -> Iterator[Counterpart]:
    """The tensors of integer kernels with what they stand for, in graph order.

    Quantizing keeps the names of tensors. Only a graph output is renamed: it is what comes after the pair. What the
    reference lacks, as another tool's tensors may, has no counterpart.
    """
    known = {tensor.name for node in reference.nodes for tensor in node.outputs}
    rounded = {id(pair.source): pair.result for pair in reversed(list(pairs(graph)))}
    for node in graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE) or not _in_integers(node):
            continue
        written = node.outputs[0]
        result = rounded.get(id(written), written)
        wanted = next((name for name in (written.name, result.name) if name in known), None)
        if wanted is not None:
            yield Counterpart(node, written.name, result.name, wanted)


def float_node(item: Counterpart, writers: Mapping[str, gs.Node]) -> gs.Node | None:
    """The node of the float model that does what an integer kernel does, without the activation function behind it.

    `writers` are the float model's nodes by the names of what they write.
    """
    writer: gs.Node | None = writers[item.wanted]
    while writer is not None and writer.op != item.node.op:
        writer = writer_of(writer.inputs[0]) if writer.op in ("Relu", "Clip") else None
    return writer


def writers_of(graph: gs.Graph) -> dict[str, gs.Node]:
    """The nodes of a graph by the names of the tensors that they write."""
    return {tensor.name: node for node in graph.nodes for tensor in node.outputs}


def _in_integers(node: gs.Node) -> bool:
    """Whether an op reads an activation that is stored in integers: its own work is then in integers as well."""
    return any(
        writer.op == DEQUANTIZE and not isinstance(writer.inputs[0], gs.Constant)
        for tensor in node.inputs
        for writer in tensor.inputs
    )
