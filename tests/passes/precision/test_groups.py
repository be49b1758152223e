"""Nodes that get one precision together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from small_graphs import small_net

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.passes.precision.groups import Group, forced_precisions, make_groups
from pruna_ir.pipeline.selection import select

TARGET = registry.target("ort-x86-vnni")


def groups(chosen: Sequence[tuple[str, Sequence[str]]] = (), per_kernel: bool = False) -> list[list[str]]:
    """The names of the nodes in each group of `small_net`."""
    graph = small_net().graph
    found = make_groups(graph, TARGET, forced_precisions(graph, TARGET, chosen, "test"), per_kernel)
    return [[graph.nodes[index].name for index in group.nodes] for group in found]


def found(chosen: Sequence[tuple[str, Sequence[str]]]) -> list[Group]:
    graph = small_net().graph
    return make_groups(graph, TARGET, forced_precisions(graph, TARGET, chosen, "test"), False)


def test_every_node_is_in_one_group() -> None:
    for per_kernel in (False, True):
        names = [name for group in groups(per_kernel=per_kernel) for name in group]
        assert sorted(names) == sorted(node.name for node in small_net().graph.nodes)


def test_regions_and_the_rest() -> None:
    assert groups() == [["c1"], ["c2", "a"], ["p"], ["f", "g"], ["r1", "k"]]
    assert [(part.quantizable, part.weighted) for part in found([])] == [
        (True, True),
        (True, True),
        (True, False),
        (True, True),
        (False, False),
    ]


def test_kernels_with_weights_alone() -> None:
    parts = groups(per_kernel=True)
    assert ["c1"] in parts and ["c2", "a"] in parts


def test_forced_nodes_part_a_group() -> None:
    parts = found([("float32", ["c1"]), ("int8", ["op:Conv"])])
    forced = {part.name: part.forced for part in parts if part.forced}
    assert sorted(forced.values()) == ["float32", "int8"]
    assert all(len(part.nodes) == 1 for part in parts if part.forced)


@pytest.mark.parametrize(("count", "names"), [(1, ["g"]), (2, ["c2", "g"]), (3, ["c1", "c2", "g"])])
def test_last_nodes_with_weights(count: int, names: list[str]) -> None:
    graph = small_net().graph
    forced = forced_precisions(graph, TARGET, [("float32", [str(count)])], "test")
    assert [graph.nodes[index].name for index in forced] == names


def test_first_choice_wins() -> None:
    graph = small_net().graph
    forced = forced_precisions(graph, TARGET, [("float32", ["1"]), ("int8", ["*"])], "test")
    assert forced[next(i for i, node in enumerate(graph.nodes) if node.name == "g")] == "float32"
    assert len(forced) == len(graph.nodes) == len(select(graph.nodes, ["*"]))


@pytest.mark.parametrize("pattern", ["nothing", "op:LSTM", "4"])
def test_what_names_nothing_is_an_error(pattern: str) -> None:
    graph = small_net().graph
    with pytest.raises(PrunaError) as failure:
        forced_precisions(graph, TARGET, [("float32", [pattern])], "test")
    assert failure.value.diagnostic.code == "P004"
