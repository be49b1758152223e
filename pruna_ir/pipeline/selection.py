"""Choosing nodes by pattern: shell globs over node names, or op types after `op:`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import error
from pruna_ir.model.invariants import node_name

_OP = "op:"


def select(nodes: Iterable[gs.Node], patterns: Sequence[str]) -> list[gs.Node]:
    """The nodes that any of the patterns (`head.*`, `op:Softmax`) names."""
    ops = {pattern.removeprefix(_OP) for pattern in patterns if pattern.startswith(_OP)}
    globs = [pattern for pattern in patterns if not pattern.startswith(_OP)]
    return [node for node in nodes if node.op in ops or any(fnmatchcase(node_name(node), glob) for glob in globs)]


def check_patterns(nodes: Sequence[gs.Node], patterns: Sequence[str], who: str) -> None:
    """Raise P004 for a pattern that names no node: it is a spelling mistake, or the node is gone by now."""
    for pattern in patterns:
        if not select(nodes, [pattern]):
            names = {node_name(node) for node in nodes} | {_OP + node.op for node in nodes}
            close = difflib.get_close_matches(pattern, names, n=1)
            help_text = f"a node with a similar name exists: `{close[0]}`" if close else "globs match node names"
            raise error("P004", f"`{pattern}` names no node", place=who, help=help_text)
