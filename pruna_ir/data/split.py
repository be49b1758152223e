"""A split bound to a model: it gives batches that the model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from pruna_ir.data.fit import Feeds, Fit
from pruna_ir.data.sources import CachedSource, Sample, Source
from pruna_ir.diagnostics import error

Row = tuple[Feeds, Any]


@dataclass(frozen=True)
class Batch:
    """Feeds for one run of a model.

    `count` is the number of real samples: a model of fixed batch size gets its last batch padded with repeats, which
    come after them. `labels`: an array, or a list of `Annotated`, of the real samples only; None without labels.
    `index` is the number of the first sample in its split, `size` the number of rows with the padding.
    """

    feeds: Feeds
    labels: Any
    count: int
    index: int
    split: str
    size: int


@dataclass(frozen=True)
class Split:
    """Samples of one split, for one model. Going through it twice gives the same batches."""

    name: str
    source: Source
    fit: Fit
    normalize: Callable[[np.ndarray], np.ndarray] | None = None
    limit: int | None = None

    @property
    def labelled(self) -> bool:
        """Whether the samples have labels."""
        return self.source.labelled

    @property
    def size(self) -> int | None:
        """The number of items of the source (samples, or ready batches), where it is known beforehand."""
        known = self.source.size
        return known if known is None or self.limit is None else min(known, self.limit)

    def head(self, count: int) -> Split:
        """The first `count` samples."""
        return replace(self, limit=count if self.limit is None else min(count, self.limit))

    def cached(self, limit_bytes: int = 256 << 20) -> Split:
        """The same split, keeping decoded samples up to `limit_bytes` (uint8 where they are images): for loops."""
        return replace(self, source=CachedSource(self.source, limit_bytes))

    def batches(self, batch_size: int = 1) -> Batches:
        """Batches of `batch_size`, or of the model's own size where it is fixed."""
        size = self.fit.static_batch or max(1, batch_size)
        return Batches(self, size if self.fit.batched else 1)

    def check(self) -> None:
        """Convert the first sample, so that what does not fit is known before any work. D003, D004, D005, D007."""
        next(iter(self.head(1).batches(1)))

    def rows(self) -> Iterator[Row]:
        """Single samples without batch axis, and their labels; D005 when there is none."""
        empty = True
        for row in islice(self._all_rows(), self.limit):
            empty = False
            yield row
        if empty:
            raise error("D005", f"the split `{self.name}` has no samples", place=self.fit.place)

    def _all_rows(self) -> Iterator[Row]:
        index = 0
        for sample in self.source:
            if self.normalize is not None:
                arrays = {name: self.normalize(array) for name, array in sample.arrays.items()}
                sample = Sample(arrays, sample.label)
            for row in self.fit.rows(sample, index):
                yield row
                index += 1


@dataclass(frozen=True)
class Batches:
    """The batches of a split; can be iterated any number of times."""

    split: Split
    batch_size: int

    def __iter__(self) -> Iterator[Batch]:
        pending: list[Row] = []
        index = 0
        for row in self.split.rows():
            # Samples of another shape (a dynamic height, a longer sentence) cannot share a batch.
            if pending and (len(pending) == self.batch_size or _shapes(row) != _shapes(pending[0])):
                yield self._stack(pending, index)
                index += len(pending)
                pending = []
            pending.append(row)
        yield self._stack(pending, index)

    def _stack(self, rows: list[Row], index: int) -> Batch:
        fit, count = self.split.fit, len(rows)
        labels = [label for _, label in rows if label is not None]
        numeric = bool(labels) and isinstance(labels[0], int | float | np.generic | np.ndarray)
        stacked = (_label_array(labels, fit.place) if numeric else labels) if labels else None
        if not fit.batched:
            return Batch(dict(rows[0][0]), stacked, 1, index, self.split.name, 1)
        padded = rows + [rows[-1]] * ((fit.static_batch or count) - count)
        feeds = {spec.name: np.stack([row[spec.name] for row, _ in padded]) for spec in fit.inputs}
        return Batch(feeds, stacked, count, index, self.split.name, len(padded))


def _shapes(row: Row) -> list[tuple[int, ...]]:
    return [array.shape for array in row[0].values()]


def _label_array(labels: list[Any], place: str) -> np.ndarray:
    try:
        return np.asarray(labels)
    except ValueError as failure:
        raise error("D007", f"the labels of one batch have different shapes: {failure}", place=place) from failure
