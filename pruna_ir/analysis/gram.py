"""Second moments of what layers read, streamed over samples: what least squares on their weights rests on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.layers import Layer, Rows
from pruna_ir.runtime.capture import open_sessions, partition
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import cores

if TYPE_CHECKING:
    from pruna_ir.model import Model

Feeds = Mapping[str, np.ndarray]
# The Gram matrices of one pass over the samples take at most this much memory, unless one alone takes more.
GRAM_LIMIT = 1 << 29
_Source = tuple[str, Rows]


@dataclass(frozen=True)
class Moments:
    """Averages over the `count` rows x that a layer read, for each group of its channels.

    `gram` is E[x x^T] [groups, width, width], `mean` E[x] [groups, width], both in float64. They are not finite if a
    row was not.
    """

    gram: np.ndarray
    mean: np.ndarray
    count: int

    @property
    def covariance(self) -> np.ndarray:
        """E[(x - E[x]) (x - E[x])^T]."""
        return np.asarray(self.gram - self.mean[:, :, None] * self.mean[:, None, :])

    def merge(self, other: Moments) -> Moments:
        """The moments over the rows of both."""
        count = self.count + other.count
        mine, theirs = (self.count / count, other.count / count) if count else (0.5, 0.5)
        return Moments(self.gram * mine + other.gram * theirs, self.mean * mine + other.mean * theirs, count)


def second_moments(
    model: Model,
    batches: Iterable[Feeds],
    layers: Sequence[Layer],
    *,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Moments]:
    """Moments of the rows that each layer of `model` reads, by the layer's key: one pass over the samples.

    Memory does not grow with the samples, but with the matrices: `rounds` divides layers that have too large ones.
    Layers that read the same rows share one matrix. `progress` is told the number of batches that are done.
    """
    sums = {(layer.tensor, layer.rows): _Sum(layer) for layer in layers}
    sessions: list[Session] = []
    for number, feeds in enumerate(batches):
        if not number:
            sessions = _open(model, feeds, sums)
        _add(sums, sessions, feeds, number)
        if progress is not None:
            progress(number + 1)
    found = {source: total.moments() for source, total in sums.items()}
    return {layer.key: found[layer.tensor, layer.rows] for layer in layers}


def rounds(groups: Mapping[str, Sequence[Layer]], limit: int = GRAM_LIMIT) -> list[list[str]]:
    """Names of groups of layers, in order, cut into runs whose matrices take at most `limit` bytes together."""
    sizes = {name: sum(8 * one.rows.groups * one.width**2 for one in layers) for name, layers in groups.items()}
    return partition(sizes, limit)


class _Sum:
    """Sums over the rows that a layer reads."""

    def __init__(self, layer: Layer) -> None:
        groups, width = layer.rows.groups, layer.width
        self.gram = np.zeros((groups, width, width))
        self.total = np.zeros((groups, width))
        self.count = 0

    def add(self, rows: np.ndarray) -> None:
        """Add rows [groups, rows, width]; a batch is multiplied in float32, and the batches are added in float64."""
        self.gram += np.matmul(rows.transpose(0, 2, 1), rows)
        self.total += rows.sum(axis=1, dtype=np.float64)
        self.count += rows.shape[1]

    def moments(self) -> Moments:
        """The averages."""
        return Moments(self.gram / max(self.count, 1), self.total / max(self.count, 1), self.count)


def _open(model: Model, feeds: Feeds, sources: Iterable[_Source]) -> list[Session]:
    inner = dict.fromkeys(tensor for tensor, _ in sources if tensor not in feeds)
    return open_sessions(model, feeds, list(inner), threads=cores()) if inner else []


def _add(sums: Mapping[_Source, _Sum], sessions: Sequence[Session], feeds: Feeds, number: int) -> None:
    for values in itertools.chain([feeds], (session.run(feeds) for session in sessions)):
        for (tensor, rows), total in sums.items():
            if tensor in values:
                with np.errstate(over="ignore", invalid="ignore"):  # NaN and Inf stay
                    total.add(rows.of(values[tensor].astype(np.float32, copy=False), number))
