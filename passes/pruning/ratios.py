"""Shares of single groups: `PATTERN:SHARE`, as in `ratios=[layer3.*:0.5]`."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import error
from pruna_ir.passes.pruning.candidates import Candidate
from pruna_ir.pipeline.selection import check_patterns, select


def read_ratios(texts: Sequence[str], who: str) -> dict[str, float]:
    """Shares by pattern; raises P004 for what is no `PATTERN:SHARE` or a share that is not within 0 and 1."""
    shares = {}
    for text in texts:
        pattern, _, number = text.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not pattern or not 0 <= share < 1:
            help_text = "a pattern of layers, a colon, and the share of their channels to remove: `layer3.*:0.5`"
            raise error("P004", f"`{text}` is no share of a group", place=who, help=help_text)
        shares[pattern] = share
    return shares


def ratios_of(
    candidates: Sequence[Candidate], nodes: Sequence[gs.Node], texts: Sequence[str], who: str
) -> dict[str, float]:
    """The shares of the groups that patterns name, by group; of several patterns the last. Raises P004."""
    shares = read_ratios(texts, who)
    check_patterns(nodes, list(shares), who)
    found = {}
    for candidate in candidates:
        for pattern, share in shares.items():
            if select(candidate.nodes, [pattern]):
                found[candidate.name] = share
    return found
