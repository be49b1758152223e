"""Choosing nodes by pattern: shell globs over node names, or op types after `op:`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name

_OP = "op:"


def select(nodes: Iterable[gs.Node], patterns: Sequence[str]) -> list[gs.Node]:
    """The nodes that any of the patterns (`head.*`, `op:Softmax`) names."""
    ops = {pattern.removeprefix(_OP) for pattern in patterns if pattern.startswith(_OP)}
    globs = [pattern for pattern in patterns if not pattern.startswith(_OP)]
    return [node for node in nodes if node.op in ops or any(fnmatchcase(node_name(node), glob) for glob in globs)]


def unmatched(nodes: Sequence[gs.Node], patterns: Sequence[str]) -> list[str]:
    """The patterns that name no node: usually a spelling mistake."""
    return [pattern for pattern in patterns if not select(nodes, [pattern])]
