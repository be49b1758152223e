"""The outputs of a model, and how far those of a changed one are from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import onnx

from pruna_ir.analysis.gram import Feeds
from pruna_ir.runtime.capture import float_tensors, with_outputs
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import few_threads

# How far outputs are from wanted ones as a metric sees it, and what that is relative to; None if it cannot tell.
Distance = Callable[[Feeds, Feeds], tuple[float, float] | None]

# Nodes that only move values about, and so put values of several meanings into one tensor.
_MOVES = frozenset({"Concat", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


def components(graph: onnx.GraphProto) -> list[str]:
    """The tensors that the outputs are put together from.

    A detector joins boxes, scores and classes of several scales, few large objects beside many small ones: what each of
    them loses is to be seen.
    """
    writers = {name: node for node in graph.node for name in node.output if name}
    found: dict[str, None] = {}
    waiting = [output.name for output in graph.output]
    while waiting:
        name = waiting.pop(0)
        node = writers.get(name)
        if node is not None and node.op_type in _MOVES:
            waiting += node.input if node.op_type == "Concat" else node.input[:1]
        elif node is not None:
            found[name] = None
    return list(found)


class Outputs:
    """The components of a model's float outputs for some batches, and how far other values are from them."""

    def __init__(self, proto: onnx.ModelProto, batches: Sequence[Feeds]) -> None:
        floats = set(float_tensors(proto))
        self.names = [name for name in components(proto.graph) if name in floats]
        self.values = list(captured(proto, batches, self.names))
        self._spread = {name: self._variation(name) or 1.0 for name in self.names}

    def distance(self, runs: Iterable[Feeds]) -> float:
        """Squared error of each component over its variation about the mean, averaged over the components.

        `runs` has values for each batch; components that are missing there are as they were.
        """
        total = 0.0
        for wanted, values in zip(self.values, runs, strict=True):
            for name in wanted.keys() & values.keys():
                gap = values[name].astype(np.float64) - wanted[name]
                total += float(np.square(gap).sum()) / self._spread[name]
        return total / max(len(self.names), 1)

    def _variation(self, name: str) -> float:
        """Squared distances of each channel from its mean; those of an image are along the second axis."""
        rows = [_by_channel(one[name]) for one in self.values]
        mean = sum(part.sum(axis=0) for part in rows) / sum(map(len, rows))
        return float(sum(np.square(part - mean).sum() for part in rows))


class SeenOutputs:
    """The outputs of a model for some batches, and how far others are from them as a metric sees it."""

    def __init__(self, proto: onnx.ModelProto, batches: Sequence[Feeds], metric: Distance) -> None:
        self.names = [output.name for output in proto.graph.output]
        self.values = list(captured(proto, batches, self.names))
        self._metric = metric
        self._whole = sum(self._parts(wanted, wanted)[1] for wanted in self.values) or 1.0

    def distance(self, runs: Iterable[Feeds]) -> float:
        """The distances of all batches, relative to what there was to get right; outputs may be missing, as above."""
        pairs = zip(runs, self.values, strict=True)
        return sum(self._parts({**wanted, **values}, wanted)[0] for values, wanted in pairs) / self._whole

    def _parts(self, values: Feeds, wanted: Feeds) -> tuple[float, float]:
        return self._metric(values, wanted) or (0.0, 0.0)


def outputs_of(proto: onnx.ModelProto, batches: Sequence[Feeds], metric: Distance | None) -> Outputs | SeenOutputs:
    """The outputs as the metric sees them, if there is one that can tell how far such outputs are apart."""
    if metric is None:
        return Outputs(proto, batches)
    first = next(captured(proto, batches, [output.name for output in proto.graph.output]), {})
    return Outputs(proto, batches) if metric(first, first) is None else SeenOutputs(proto, batches, metric)


def captured(proto: onnx.ModelProto, batches: Iterable[Feeds], names: Sequence[str]) -> Iterator[Feeds]:
    """Tensors of a model for each batch; the session is there as long as they are gone through."""
    session = Session(with_outputs(proto, names), threads=few_threads()) if names else None
    for feeds in batches:
        yield session.run(feeds) if session is not None else {}


def _by_channel(values: np.ndarray) -> np.ndarray:
    """An output as rows of channels in float64."""
    axis = 1 if values.ndim > 3 else -1
    rows = np.moveaxis(np.atleast_1d(values), axis, -1)
    return np.asarray(rows.reshape(-1, rows.shape[-1]), np.float64)
