"""Our output's latency next to another tool's, both as ONNX Runtime runs them after its full optimization.

Where it runs the same graph either way, nothing is timed: the ratio is 1. Otherwise the sessions are made anew in each
turn (fresh_sessions.py). There are 4 turns, or 8 if of the first 4 some are above 1 and some below; the ratio is the
median over all turns. Nothing is taken again or left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from fresh_sessions import Feeds, speedups

from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.runtime.optimized import optimized
from pruna_ir.runtime.session import Session

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from graph_equality import difference

# Raised when something here changes, so that what was measured before is measured again.
METHOD = "2"
SECONDS = 1.0
TURNS, MORE_TURNS = 4, 4


def latencies(ours: Path, others: Mapping[str, Path]) -> dict[str, list[float] | None]:
    """Each other's time over ours: the median, lowest and highest of the turns; None if the same graph is run.

    Others for which the same graph is run share a measurement.
    """
    graph, session = runtime_graph(ours), Session(ours)
    feeds, _ = runnable_feeds(session.run, session.inputs)
    found: dict[str, list[float] | None] = {}
    timed: list[tuple[str, gs.Graph]] = []
    for name, path in others.items():
        other = runtime_graph(path)
        if difference(graph, other) is None:
            found[name] = None
            continue
        twin = next((earlier for earlier, known in timed if difference(known, other) is None), None)
        found[name] = found[twin] if twin is not None else ratio(path, ours, feeds)
        timed.append((name, other))
    return found


def runtime_graph(path: Path) -> gs.Graph:
    """The graph that ONNX Runtime runs on this machine for a model."""
    return gs.import_onnx(optimized(onnx.load(path)))


def ratio(other: Path, ours: Path, feeds: Feeds) -> list[float]:
    """The other's time over ours: the median, lowest and highest of the turns."""
    turns = speedups(other, ours, feeds, turns=TURNS, seconds=SECONDS)
    if min(turns) < 1 < max(turns):
        turns += speedups(other, ours, feeds, turns=MORE_TURNS, seconds=SECONDS)
    return [float(np.median(turns)), min(turns), max(turns)]
