"""Which groups of a model may be cut, how they are rounded, and why the others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import AxisAnalysis, Group, nodes_by_key
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.pruning.allocation.curves import allowed_widths
from pruna_ir.pipeline.selection import check_patterns, select
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class Limits:
    """What is left alone: `include` (all if empty) and `exclude` are patterns of the layers that write a group.

    A group keeps a multiple of `round_to` channels of each layer, at least `least`; all of them are always allowed.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    round_to: int = 1
    least: int = 1


@dataclass(frozen=True)
class Candidate:
    """A group that may be cut: `widths` are the numbers of units that may stay, each `channels` channels of a layer."""

    group: Group
    channels: int
    widths: np.ndarray
    nodes: tuple[gs.Node, ...] = field(default=())

    @property
    def name(self) -> str:
        """The group's name."""
        return self.group.name


@dataclass(frozen=True)
class Survey:
    """The groups of a model: candidates, and for each other one why it stays whole."""

    candidates: tuple[Candidate, ...]
    kept: tuple[tuple[Group, Reason | str], ...]


def survey_groups(graph: gs.Graph, analysis: AxisAnalysis, limits: Limits, who: str) -> Survey:
    """Sort the groups of a graph; raises P004 for a pattern that names no node."""
    check_patterns(graph.nodes, [*limits.include, *limits.exclude], who)
    nodes = nodes_by_key(graph)
    candidates: list[Candidate] = []
    kept: list[tuple[Group, Reason | str]] = []
    for group in analysis.groups:
        writers = list({use.node: nodes[use.node] for use in group.producers or group.consumers}.values())
        channels = _channels(analysis, group)
        widths = allowed_widths(group.size, channels, limits.round_to, limits.least)
        reason = group.protected or _unwanted(writers, limits) or _too_narrow(group, channels, widths, limits)
        if reason is not None:
            kept.append((group, reason))
        else:
            candidates.append(Candidate(group, channels, widths, tuple(writers)))
    return Survey(tuple(candidates), tuple(kept))


def _channels(analysis: AxisAnalysis, group: Group) -> int:
    """Channels of the narrowest layer that writes the group, for one unit."""
    uses = group.producers or group.consumers
    return max(1, min((analysis.positions(group, use).shape[1] for use in uses), default=1))


def _unwanted(writers: Sequence[gs.Node], limits: Limits) -> Reason | None:
    named = select(writers, limits.exclude)
    if named:
        return Reason("`{}` is excluded", node_name(named[0]))
    if limits.include and not select(writers, limits.include):
        return Reason("it is not among what is included")
    return None


def _too_narrow(group: Group, channels: int, widths: np.ndarray, limits: Limits) -> Reason | None:
    if len(widths) > 1:
        return None
    least = f"; at least {limits.least} stay" if limits.least > 1 else ""
    return Reason(
        "its {} channels are too few to cut (multiples of {} stay{})", group.size * channels, limits.round_to, least
    )
