"""Groups: nodes that get one precision together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import error
from pruna_ir.passes.quantization.kernel import row_of
from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.passes.quantization.regions import split
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.targets import Target

FLOAT32, INT8 = "float32", "int8"


@dataclass(frozen=True)
class Group:
    """Nodes, as positions in the graph's list (which survive cloning), and the precision that the user gave them.

    `weighted` says that one of them has weights: others run in integers only where what is around them does.
    """

    name: str
    nodes: tuple[int, ...]
    quantizable: bool
    weighted: bool
    forced: str | None = None


def make_groups(graph: gs.Graph, target: Target, forced: Mapping[int, str], per_kernel: bool) -> list[Group]:
    """The regions of integer kernels, or the kernels with weights alone, and one group of all other nodes.

    A region is parted where the user forces a precision: `forced` holds those by position. With `per_kernel` a group
    is a kernel with weights and those without up to the next.
    """
    plan = make_plan(graph, target)
    position = {str(node.outputs[0].name): index for index, node in enumerate(graph.nodes) if node.outputs}
    weighted = {kernel.key for kernel in plan.kernels if kernel.weight is not None}
    parts: list[tuple[str, list[int]]] = []
    for region in split(plan):
        keys = [[key] for key in region.kernels[:1]]
        for key in region.kernels[1:]:
            if per_kernel and key in weighted:
                keys.append([key])
            else:
                keys[-1].append(key)
        parts += [(f"`{part[0]}`" if per_kernel else region.name, [position[key] for key in part]) for part in keys]
    heavy = {position[key] for key in weighted}
    groups = [group for name, nodes in parts for group in _parted(name, nodes, forced, heavy, quantizable=True)]
    taken = {index for group in groups for index in group.nodes}
    rest = [index for index in range(len(graph.nodes)) if index not in taken]
    return groups + _parted("the rest", rest, forced, heavy, quantizable=False)


def forced_precisions(
    graph: gs.Graph, target: Target, chosen: Sequence[tuple[str, Sequence[str]]], who: str
) -> dict[int, str]:
    """The precision that patterns give to nodes, by position; where several name a node, the first does.

    A number N stands for the last N nodes with weights. Raises P004 for a pattern that names no node.
    """
    found: dict[int, str] = {}
    for precision, patterns in chosen:
        globs = [pattern for pattern in patterns if not pattern.isdecimal()]
        check_patterns(graph.nodes, globs, who)
        named = {id(node) for node in select(graph.nodes, globs)}
        last = _last(graph, target, sum(int(pattern) for pattern in patterns if pattern.isdecimal()), who)
        for index, node in enumerate(graph.nodes):
            if id(node) in named or index in last:
                found.setdefault(index, precision)
    return found


def _last(graph: gs.Graph, target: Target, count: int, who: str) -> set[int]:
    weighted = [index for index, node in enumerate(graph.nodes) if _has_weight(node, target)]
    if count > len(weighted):
        raise error("P004", f"the model has {len(weighted)} nodes with weights, not {count}", place=who)
    return set(weighted[len(weighted) - count :])


def _has_weight(node: gs.Node, target: Target) -> bool:
    row = row_of(node, target)
    if row is None or row.weight is None or len(node.inputs) <= row.weight:
        return False
    return isinstance(node.inputs[row.weight], gs.Constant)


def _parted(
    name: str, nodes: Sequence[int], forced: Mapping[int, str], weighted: set[int], quantizable: bool
) -> list[Group]:
    """The nodes as one group for each precision that is forced on some of them, and one for the free ones."""
    parts: dict[str | None, list[int]] = {}
    for index in nodes:
        parts.setdefault(forced.get(index), []).append(index)

    def group(precision: str | None, part: Sequence[int]) -> Group:
        label = name if len(parts) == 1 else f"{name} ({precision or 'free'})"
        return Group(label, tuple(part), quantizable, not weighted.isdisjoint(part), precision)

    return [group(precision, part) for precision, part in parts.items()]
