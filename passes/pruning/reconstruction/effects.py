"""What new values for constants of a few layers do to the outputs of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx

from pruna_ir.analysis.gram import Feeds
from pruna_ir.passes.pruning.reconstruction.edits import by_node, redirected, slot_name
from pruna_ir.passes.pruning.reconstruction.outputs import Distance, captured, outputs_of
from pruna_ir.passes.pruning.reconstruction.schedule import reads
from pruna_ir.passes.pruning.reconstruction.sites import Edits
from pruna_ir.passes.pruning.reconstruction.submodels import submodel
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import few_threads


class Effects:
    """How far the outputs of a model move, as a metric sees it or relative to their variation, on some batches."""

    def __init__(self, proto: onnx.ModelProto, batches: Sequence[Feeds], metric: Distance | None = None) -> None:
        self.proto, self.batches = proto, batches
        self.expected = outputs_of(proto, batches, metric)


class Effect:
    """Measures edits of the slots that are in `like`: one session of only the nodes behind them, for all such edits."""

    def __init__(self, effects: Effects, like: Edits) -> None:
        self._expected = effects.expected
        positions = by_node(like)
        nodes = _behind(effects.proto.graph, positions)
        written = {name for node in nodes for name in node.output}
        nodes = [
            redirected(node, positions[node.output[0]]) if node.output and node.output[0] in positions else node
            for node in nodes
        ]
        self._feeds = list(_read(effects, nodes, written))
        outputs = [name for name in self._expected.names if name in written]
        self._session: Session | None = None
        if outputs and self._feeds:
            model = submodel(effects.proto, nodes, {**self._feeds[0], **_named(like)}, outputs)
            self._session = Session(model, threads=few_threads())

    def of(self, edits: Edits) -> float:
        """The distance of the outputs with these values from those without."""
        return self._expected.distance(self._runs(edits))

    def _runs(self, edits: Edits) -> Iterator[Feeds]:
        for feeds in self._feeds:
            yield self._session.run({**feeds, **_named(edits)}) if self._session is not None else {}


def _named(edits: Edits) -> dict[str, np.ndarray]:
    return {slot_name(slot): value for slot, value in edits.items()}


def _behind(graph: onnx.GraphProto, keys: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that write `keys` first, and all that read from them."""
    reached: set[str] = set()
    found = []
    for node in graph.node:
        if (node.output and node.output[0] in keys) or not reached.isdisjoint(reads(node)):
            found.append(node)
            reached.update(filter(None, node.output))
    return found


def _read(effects: Effects, nodes: Sequence[onnx.NodeProto], written: Collection[str]) -> Iterator[Feeds]:
    """What the nodes read that none of them writes and that is no constant, for each batch."""
    names = dict.fromkeys(name for node in nodes for name in reads(node) if name not in written)
    given = [name for name in names if name in effects.batches[0]]
    inner = {name for node in effects.proto.graph.node for name in node.output} & names.keys()
    for feeds, values in zip(effects.batches, captured(effects.proto, effects.batches, sorted(inner)), strict=True):
        yield {**{name: feeds[name] for name in given}, **values}
