"""Which nodes compute in halves, and which constants are held in them: each check gives its reason."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from pruna_ir.calibration.record import Record
from pruna_ir.model.scoping import bodies_of, graphs_of
from pruna_ir.passes.precision.half_types import Half, Places, accepts_half, half_places, is_float
from pruna_ir.remarks import Reason

# Scales must be exact: a rounding error there moves every value.
_QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# Their output type follows an attribute or, where that is absent, the input.
_GENERATORS = frozenset({"RandomNormalLike", "RandomUniformLike", "Bernoulli", "EyeLike"})
# A constant is held in halves for readers in float32 if at least two of its dimensions are larger than 1, as those of
# weights are, and it has so many elements: of smaller ones the Cast takes what they save.
_WORTH_STORING = 256


@dataclass
class Candidates:
    """The nodes that can compute in halves, by identity, and for each other one that writes float32 the reason.

    `kernelless` counts those that the target alone keeps in float32.
    """

    places: dict[int, Places] = field(default_factory=dict)
    followers: set[int] = field(default_factory=set)
    refused: list[tuple[gs.Node, Reason]] = field(default_factory=list)
    kernelless: list[gs.Node] = field(default_factory=list)


def candidates(graph: gs.Graph, half: Half, kernels: Collection[str] | None, kept: Collection[int]) -> Candidates:
    """Look at every node of a graph (sub-graphs stay as they are).

    `kernels` are the ops that the target computes in halves (None: all that ONNX lets have them); the nodes in `kept`
    stay in float32.
    """
    found = Candidates()
    inner = {id(tensor) for body in graphs_of(graph) if body is not graph for tensor in body.outputs}
    for node in graph.nodes:
        if not any(is_float(tensor) for tensor in node.outputs):
            if _reads_one_float(node, graph, half):
                found.followers.add(id(node))
            continue
        outcome = _examine(node, graph, half, kept, inner)
        if isinstance(outcome, Reason):
            found.refused.append((node, outcome))
        elif kernels is not None and node.op not in kernels:
            found.kernelless.append(node)
        else:
            found.places[id(node)] = outcome
    _drop_sources(graph, found)
    return found


def refuse_ranges(graph: gs.Graph, found: Candidates, half: Half, records: Mapping[str, Record], room: float) -> None:
    """Take out the nodes of `found` that read or write values which halves cannot hold, as far as `records` know.

    The largest magnitude must stay below that of the type over `room`, and above its smallest with all digits.
    """
    for node in graph.nodes:
        places = found.places.get(id(node))
        if places is None:
            continue
        tensors = [*(node.inputs[i] for i in places.inputs), *(node.outputs[i] for i in places.outputs)]
        reasons = (_out_of_range(tensor.name, records.get(tensor.name), half, room) for tensor in tensors)
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is not None:
            del found.places[id(node)]
            found.refused.append((node, reason))
    _drop_sources(graph, found)


def storable(graph: gs.Graph, half: Half, kept: Collection[int]) -> dict[int, gs.Constant]:
    """The constants that can be held in halves for readers in float32, by identity."""
    outputs = {id(tensor) for tensor in graph.outputs}
    nodes = {id(node) for node in graph.nodes}
    held = {id(tensor): tensor for node in graph.nodes for tensor in node.inputs if isinstance(tensor, gs.Constant)}

    def fits(constant: gs.Constant) -> bool:
        readers = constant.outputs
        if not is_float(constant) or id(constant) in outputs or math.prod(constant.shape) < _WORTH_STORING:
            return False
        if sum(size > 1 for size in constant.shape) < 2 or half.unfit_constant(constant) is not None:
            return False
        return all(id(n) in nodes and id(n) not in kept and n.op not in _QUANTIZERS for n in readers)

    return {key: constant for key, constant in held.items() if fits(constant)}


def _examine(
    node: gs.Node, graph: gs.Graph, half: Half, kept: Collection[int], inner: Collection[int]
) -> Places | Reason:
    obstacle = _obstacle(node, kept, inner)
    if obstacle is not None:
        return obstacle
    places = half_places(node, int(graph.opset), half)
    return places if isinstance(places, Reason) else _unfit_constants(node, places, half) or places


def _obstacle(node: gs.Node, kept: Collection[int], inner: Collection[int]) -> Reason | None:
    if id(node) in kept:
        return Reason("it is to be kept")
    if bodies_of(node):
        return Reason("it has sub-graphs")
    if node.op in _QUANTIZERS or node.op in _GENERATORS:
        return Reason("{} is not converted", node.op)
    for tensor in node.inputs:
        if any(writer.op == "DequantizeLinear" for writer in tensor.inputs):
            return Reason("`{}` is quantized", tensor.name)
    for tensor in node.outputs:
        if any(reader.op == "QuantizeLinear" for reader in tensor.outputs):
            return Reason("`{}` is quantized", tensor.name)
        if id(tensor) in inner:
            return Reason("`{}` is an output of a sub-graph", tensor.name)
    return None


def _unfit_constants(node: gs.Node, places: Places, half: Half) -> Reason | None:
    constants = (node.inputs[i] for i in places.inputs if isinstance(node.inputs[i], gs.Constant))
    return next((reason for constant in constants if (reason := half.unfit_constant(constant)) is not None), None)


def _out_of_range(name: str, record: Record | None, half: Half, room: float) -> Reason | None:
    if record is None or not record.minimum <= record.maximum:
        return None
    largest = max(abs(record.minimum), abs(record.maximum))
    if largest * room > half.largest:
        return Reason(
            "`{}` reaches {:.3g}, too near the largest {} ({:.3g})", name, largest, half.onnx_name, half.largest
        )
    if 0.0 < largest < half.smallest:
        return Reason("`{}` reaches {:.3g} only, too small for {}", name, largest, half.onnx_name)
    return None


def _reads_one_float(node: gs.Node, graph: gs.Graph, half: Half) -> bool:
    """Whether a node that writes no floats reads one, of either type: Shape, ArgMax, a Cast to integers."""
    read = [tensor for tensor in node.inputs if is_float(tensor)]
    if len(read) != 1 or isinstance(read[0], gs.Constant) or node.op in _QUANTIZERS or bodies_of(node):
        return False
    return accepts_half(node, int(graph.opset), half)


def _drop_sources(graph: gs.Graph, found: Candidates) -> None:
    """Leave Casts from integers in float32 unless all who read them compute in halves: they would be cast again."""
    for node in reversed(graph.nodes):
        if id(node) in found.places and not found.places[id(node)].inputs:
            readers = node.outputs[0].outputs
            if not readers or any(id(reader) not in found.places for reader in readers):
                del found.places[id(node)]
