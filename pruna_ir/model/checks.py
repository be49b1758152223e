"""Checks of what users bring: refused here, with a reason, rather than by a library's exception three passes later."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import numpy as np
import onnx

from pruna_ir.diagnostics import error
from pruna_ir.model.external import is_external
from pruna_ir.model.sidecar import first_output

_UNSUPPORTED_TYPES = ("sequence_type", "optional_type", "map_type", "opaque_type")
_STANDARD_DOMAINS = ("", "ai.onnx")
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
# Ops in whose constants an infinity cannot be meant. Elsewhere it can: attention masks hold -inf.
_WEIGHTED_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LSTM", "GRU", "RNN"})
_LISTED = 8


def check_supported(proto: onnx.ModelProto, place: str) -> None:
    """Raise M007 where the model uses types that the IR cannot hold."""
    for graph in graphs(proto.graph):
        for value in [*graph.input, *graph.output, *graph.value_info]:
            kind = value.type.WhichOneof("value")
            if kind in _UNSUPPORTED_TYPES:
                raise error("M007", f"`{value.name}` is a {kind.removesuffix('_type')}, not a tensor", place=place)
        for node in graph.node:
            if node.op_type.startswith(("Sequence", "Optional", "ConcatFromSequence", "SplitToSequence")):
                raise error("M007", f"`{node.op_type}` handles sequences or optionals", place=_name(node))


def check_operators(proto: onnx.ModelProto, place: str) -> None:
    """Raise M004, listing every operator that neither ONNX nor ONNX Runtime defines."""
    foreign: dict[tuple[str, str], str] = {}
    for graph in graphs(proto.graph):
        for node in graph.node:
            domain = "" if node.domain in _STANDARD_DOMAINS else node.domain
            if not onnx.defs.has(node.op_type, domain=domain):
                foreign.setdefault((domain, node.op_type), _name(node))
    unknown = {key: node for key, node in foreign.items() if key not in _runtime_operators()} if foreign else {}
    if not unknown:
        return
    names = [f"`{domain or 'ai.onnx'}::{op}` (node `{node}`)" for (domain, op), node in unknown.items()]
    rest = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    help_text = "export without custom operators, or with them as ONNX functions, which are inlined"
    raise error("M004", f"unknown operators: {', '.join(names[:_LISTED] + rest)}", place=place, help=help_text)


def _runtime_operators() -> set[tuple[str, str]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {(schema.domain, schema.name) for schema in state.get_all_operator_schema()}


def check_weights(graph: onnx.GraphProto, place: str) -> None:
    """Raise M008 for weights that are not numbers. External data is left alone: reading it all takes long."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for tensor in graph.initializer:
        if tensor.data_type not in _FLOATS or is_external(tensor):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        finite = np.isfinite(values)
        if finite.all():
            continue
        bad_nans, infinities = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        if bad_nans or readers.get(tensor.name, set()) & _WEIGHTED_OPS:
            message = f"`{tensor.name}` holds {bad_nans} NaN and {infinities} Inf among {values.size} values"
            raise error("M008", message, place=place, help="the training diverged or the export went wrong")


def sort_nodes(graph: onnx.GraphProto, place: str) -> None:
    """Sort the nodes of a graph and its sub-graphs topologically, stable where they already are; M005 if impossible."""
    _sort(graph, set(), place)


def _sort(graph: onnx.GraphProto, outer: set[str], place: str) -> None:
    known = outer | {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer} | {""}
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    for node in graph.node:
        # Not a difference of sets: with the view of a large dict that takes the time of the dict.
        missing = [name for name in reads(node) if name not in known and name not in producers]
        if missing:
            raise error("M005", f"nothing writes `{min(missing)}`, which `{_name(node)}` reads", place=place)
    lost = [value.name for value in graph.output if value.name not in known and value.name not in producers]
    if lost:
        raise error("M005", f"nothing writes the output `{min(lost)}`", place=place)
    needs = {
        index: {producers[name] for name in reads(node) if name in producers} for index, node in enumerate(graph.node)
    }
    if any(max(before, default=-1) >= index for index, before in needs.items()):
        nodes = [graph.node[index] for index in _order(graph, needs, place)]
        del graph.node[:]
        graph.node.extend(nodes)
    known |= producers.keys()
    for node in graph.node:
        for body in bodies(node):
            _sort(body, known, place)


def _order(graph: onnx.GraphProto, needs: dict[int, set[int]], place: str) -> list[int]:
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as failure:
        cycle = " -> ".join(f"`{_name(graph.node[index])}`" for index in failure.args[1][:_LISTED])
        raise error("M005", f"the graph has a cycle: {cycle}", place=place) from None


def reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads from its own scope, those that its sub-graphs take from it included."""
    names = set(node.input)
    for body in bodies(node):
        inner = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        inner |= {name for child in body.node for name in child.output}
        used = {name for child in body.node for name in reads(child)} | {value.name for value in body.output}
        names |= used - inner
    return names


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The sub-graphs of a control-flow node."""
    found: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
    return found


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all graphs nested in it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def _name(node: onnx.NodeProto) -> str:
    return node.name or first_output(node) or node.op_type
