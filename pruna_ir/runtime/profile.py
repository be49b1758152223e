"""Where the time goes: each node's share of a run, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

_EVENT = "_kernel_time"
# What ONNX Runtime's optimizers put behind the name of the node or tensor that a node was made from.
_LAYOUT = "_nchwc"
_WARM_UP_RUNS = 2
# What begins a fused kernel.
_LEADING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def node_times(model: Model, feeds: Mapping[str, np.ndarray], *, runs: int = 8) -> dict[str, float]:
    """Milliseconds of nodes in one thread, by the name of what they write first; the least of `runs`.

    A node that ONNX Runtime fused into another has no time of its own: the fused kernel's stands with the first of its
    nodes. Kernels that it made for itself, such as changes of layout, are left out.
    """
    kernels = _profile(model, feeds, runs)
    written = {str(tensor.name): node for node in model.graph.nodes for tensor in node.outputs if tensor.name}
    found: dict[str, float] = {}
    for name, durations in kernels.items():
        node = written.get(name)
        while node is not None and (before := _fused_before(node, kernels)) is not None:
            node = before
        if node is not None:
            found[str(next(tensor.name for tensor in node.outputs if tensor.name))] = min(durations) / 1e3
    return found


def _profile(model: Model, feeds: Mapping[str, np.ndarray], runs: int) -> dict[str, list[int]]:
    """Microseconds of each kernel in each run, by the kernel's name without what the optimizers added."""
    proto = model.to_proto()
    for node in proto.graph.node:
        node.name = next(filter(None, node.output), "")
    with tempfile.TemporaryDirectory(prefix="pruna-") as folder:
        session = Session(proto, profile=Path(folder) / "run")
        for _ in range(_WARM_UP_RUNS + runs):
            session.run(feeds)
        text = Path(session.native.end_profiling()).read_text()
    durations: dict[str, list[int]] = defaultdict(list)
    for event in _kernels(json.loads(text)):
        durations[event["name"].removesuffix(_EVENT).removesuffix(_LAYOUT)].append(int(event["dur"]))
    return {name: several[_WARM_UP_RUNS:] or several for name, several in durations.items()}


def _kernels(events: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    return (event for event in events if event.get("cat") == "Node" and event["name"].endswith(_EVENT))


def _fused_before(node: gs.Node, kernels: Collection[str]) -> gs.Node | None:
    """The node whose kernel computes this one as well, and is called after what this one writes: a layer before it."""
    for tensor in node.inputs:
        if len(tensor.inputs) == 1 and len(tensor.outputs) == 1 and tensor.name not in kernels:
            writer: gs.Node = tensor.inputs[0]
            if writer.op in _LEADING:
                return writer
    return None
