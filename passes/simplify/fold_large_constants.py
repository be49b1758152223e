"""Computing now what does not depend on the inputs, where that takes room that other passes have saved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.simplify.evaluate import evaluate
from pruna_ir.passes.simplify.purity import QUANTIZATION_OPS, is_pure
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import detach, redirect, remove_nodes
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Bytes that storing a tensor costs beside its values: name, shape, type.
_HEADER = 64
# What is larger is not computed.
_MOST_BYTES = 2**24
# Regions of more nodes are folded as a whole or not at all.
_DISSECTED = 200


@dataclass(frozen=True)
class FoldLargeConstants(Pass):
    """Replace whole regions of constant nodes by what they compute, as long as the file stays as small as it was.

        before   table[169,3] -> Gather(2,401 indices) -> Reshape -> Transpose -> Add(scores)
        after    bias[3,49,49] -> Add(scores)

    `fold-constants` looks at one node at a time and folds what takes next to no room. This pass looks at everything
    that hangs together: attention masks and position biases come from dozens of nodes and take kilobytes. The bytes
    that the passes before it saved on the model that the pipeline started with are spent on them, first where a node
    costs the fewest; of a region that costs too much the first nodes are folded, up to where little is stored.

    Does not fire where too few bytes are left, nor where sub-graphs read what it computes; and neither
    on what `fold-constants` leaves alone for other reasons: outputs of the graph, random operators, foreign domains,
    quantization, strings, and nodes with sub-graphs.
    """

    name: ClassVar[str] = "fold-large-constants"
    effect: ClassVar[Effect] = Effect.EXACT
    before: ClassVar[tuple[str, ...]] = ("quantize",)

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        regions = _regions(model.graph)
        if not regions:
            return result
        values, failures = evaluate([node for region in regions for node in region], model)
        spending = _Spending(values, _allowed_bytes(context.reference) - _stored_bytes(model))
        for region in regions:
            broken = [failures[id(node)] for node in region if id(node) in failures]
            if broken:
                text = "ONNX Runtime cannot compute it: {}"
                result.remarks.append(self.remark(RemarkKind.MISSED, node_name(region[-1]), text, broken[0]))
            else:
                spending.offer(region)
        folded = spending.spend()
        for region in spending.left():
            text = "the result of {} node(s) would add {:,} bytes; the file may grow by {:,}"
            cost = spending.cost(region)
            reason = (text, len(region), cost, max(spending.room, 0))
            result.remarks.append(self.remark(RemarkKind.MISSED, node_name(region[-1]), *reason))
        if folded:
            remove_nodes(model.graph, folded)
            result.count("nodes folded", len(folded))
        return result


class _Spending:
    """Chooses what to fold for the `room`, in bytes, that there is.

    What can be folded of a region is a node with all that comes before it, or the whole.
    """

    def __init__(self, values: dict[str, np.ndarray], room: int) -> None:
        self.values, self.room = values, room
        self.choices: list[list[list[gs.Node]]] = []  # by region; the last is all of it

    def offer(self, region: list[gs.Node]) -> None:
        """Add a region, in topological order."""
        parts = [_with_sources(node, region) for node in region] if len(region) <= _DISSECTED else []
        self.choices.append([*(part for part in parts if len(part) < len(region)), region])

    def spend(self) -> list[gs.Node]:
        """Fold while something fits, what costs the fewest bytes a node first; returns the nodes, detached."""
        folded: list[gs.Node] = []
        costs = [[self.cost(part) for part in parts] for parts in self.choices]
        while True:
            fitting = (
                (cost / len(parts[index]), which, index)
                for which, parts in enumerate(self.choices)
                for index, cost in enumerate(costs[which])
                if cost <= self.room
            )
            _, which, index = min(fitting, default=(0.0, -1, -1))
            if which < 0:
                return folded
            part = self.choices[which][index]
            self.room -= costs[which][index]
            for tensor in _results(part):
                redirect(tensor, gs.Constant(tensor.name, self.values[tensor.name]))
            detach(part)
            folded += part
            gone = {id(node) for node in part}
            rests = ([node for node in other if id(node) not in gone] for other in self.choices[which])
            self.choices[which] = [rest for rest in rests if rest]
            costs[which] = [self.cost(rest) for rest in self.choices[which]]

    def left(self) -> list[list[gs.Node]]:
        """What was not folded of each region."""
        return [parts[-1] for parts in self.choices if parts]

    def cost(self, nodes: list[gs.Node]) -> int:
        """Bytes that the file grows by if the nodes are replaced by their results."""
        own = {id(node) for node in nodes}
        read = {id(tensor): tensor for node in nodes for tensor in node.inputs if isinstance(tensor, gs.Constant)}
        freed = sum(int(tensor._values.nbytes) for tensor in read.values() if not _read_outside(tensor, own))
        return sum(self.values[tensor.name].nbytes + _HEADER for tensor in _results(nodes)) - freed


def _with_sources(node: gs.Node, region: list[gs.Node]) -> list[gs.Node]:
    """The node and all nodes of its region that it depends on, in the region's order."""
    needed = {id(node)}
    for other in reversed(region):
        if id(other) in needed:
            needed.update(id(source) for tensor in other.inputs for source in tensor.inputs)
    return [other for other in region if id(other) in needed]


def _results(nodes: list[gs.Node]) -> list[gs.Tensor]:
    """The tensors of nodes that others read."""
    own = {id(node) for node in nodes}
    return [tensor for node in nodes for tensor in node.outputs if _read_outside(tensor, own)]


def _regions(graph: gs.Graph) -> list[list[gs.Node]]:
    """Constant nodes that hang together, in order; what a sub-graph or the interface reads ends a region before it."""
    own, outputs = {id(node) for node in graph.nodes}, {id(tensor) for tensor in graph.outputs}
    home: dict[int, list[gs.Node]] = {}
    for node in graph.nodes:
        sources = [home.get(id(tensor.inputs[0])) if tensor.inputs else None for tensor in _computed(node)]
        if any(source is None for source in sources) or not _foldable(node, own, outputs):
            continue
        home[id(node)] = region = [node]
        for source in sources:
            if source is not region and source is not None:
                region, source = (region, source) if len(region) >= len(source) else (source, region)
                region += source
                home.update((id(member), region) for member in source)
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    distinct = {id(region): region for region in home.values()}.values()
    return [sorted(region, key=lambda node: position[id(node)]) for region in distinct]


def _foldable(node: gs.Node, own: set[int], outputs: set[int]) -> bool:
    """Whether the node can be replaced by its values, if its inputs have some."""
    if node.op == "Constant" or node.op in QUANTIZATION_OPS or not is_pure(node):
        return False
    present = [tensor for tensor in [*node.inputs, *node.outputs] if not tensor.is_empty()]
    numeric = all(tensor.dtype is not None and not isinstance(tensor.dtype, int) for tensor in present)
    if not numeric or any(np.dtype(tensor.dtype).kind not in "biufc" for tensor in present):
        return False
    return all(
        id(tensor) not in outputs and not _read_outside(tensor, own) and _bytes(tensor) <= _MOST_BYTES
        for tensor in node.outputs
    )


def _computed(node: gs.Node) -> list[gs.Tensor]:
    """The inputs of a node that are no constants."""
    return [tensor for tensor in node.inputs if not tensor.is_empty() and not isinstance(tensor, gs.Constant)]


def _read_outside(tensor: gs.Tensor, nodes: set[int]) -> bool:
    return any(id(reader) not in nodes for reader in tensor.outputs)


def _bytes(tensor: gs.Tensor) -> int:
    """Bytes of a tensor's values; 0 where the shape is not known."""
    if tensor.shape is None or any(not isinstance(dim, int) for dim in tensor.shape):
        return 0
    return int(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize)


def _allowed_bytes(original: Model) -> int:
    """Bytes of the model that the pipeline started with: of its file, where loading it has made it larger."""
    stored = _stored_bytes(original)
    return min(stored, bytes_on_disk(original.source)) if original.source and original.source.exists() else stored


def _stored_bytes(model: Model) -> int:
    proto = model.to_proto()
    model.sidecar.strip_types(proto)
    return int(proto.ByteSize())
