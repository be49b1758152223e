from __future__ import annotations

import pytest
from seeded_passes import small_model

from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.selection import check_patterns, select


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ([], []),
        (["relu"], ["relu"]),
        (["*e*"], ["relu", "exp"]),
        (["op:Add"], ["add"]),
        (["op:Add", "[er]*"], ["add", "relu", "exp"]),
        (["Relu"], []),  # globs know capitals
        (["op:*"], []),  # and operators no globs
    ],
)
def test_nodes_are_chosen_by_name_or_operator(patterns: list[str], names: list[str]) -> None:
    assert [node.name for node in select(small_model().graph.nodes, patterns)] == names


def test_a_pattern_that_names_nothing_is_a_mistake() -> None:
    nodes = small_model().graph.nodes
    check_patterns(nodes, ["relu", "op:Exp", "a*"], "quantize")
    with pytest.raises(PrunaError) as caught:
        check_patterns(nodes, ["relu", "op:Epx"], "quantize")
    diagnostic = caught.value.diagnostic
    assert (diagnostic.code, diagnostic.place, diagnostic.message) == ("P004", "quantize", "`op:Epx` names no node")
    assert "`op:Exp`" in diagnostic.help
