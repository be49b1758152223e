"""Rows that a layer reads in the model as it is now, beside what it should write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pruna_ir.passes.pruning.reconstruction.sites import Site
from pruna_ir.passes.pruning.reconstruction.targets import Target
from pruna_ir.passes.pruning.reconstruction.walk import Walk

# About so many rows of all samples together say what there is to be said of a layer, or so many for each column.
ROWS = 1 << 15
ROWS_OF_A_COLUMN = 32
# Rows are kept while a layer is solved if they take at most this much memory, and else made anew for each sum.
KEPT_BYTES = 1 << 29


@dataclass(frozen=True)
class Chunk:
    """Rows of one batch, float32: `read` [groups, rows, width]; what the original's target was and what the model's
    other summands are, [groups, rows, outputs]."""

    read: np.ndarray
    target: np.ndarray
    others: np.ndarray | None

    @property
    def wanted(self) -> np.ndarray:
        """What the layer itself should write."""
        return self.target if self.others is None else self.target - self.others


@dataclass(frozen=True)
class Observations:
    """The chunks of a layer, batch by batch; can be gone through any number of times."""

    site: Site
    target: Target
    original: Walk
    current: Walk

    def __iter__(self) -> Iterator[Chunk]:
        most = self.most
        for batch in range(len(self.current)):
            wanted = self.original.value(self.target.tensor, batch)
            read = self.site.rows(_float(self.current.value(self.site.layer.tensor, batch)), batch, most)
            others = None
            for name in self.target.others:
                value = np.broadcast_to(_float(self.current.value(name, batch)), wanted.shape)
                rows = self.site.outputs(value, batch, most)
                others = rows if others is None else others + rows
            yield Chunk(read, self.site.outputs(_float(wanted), batch, most), others)

    @property
    def most(self) -> int:
        """Rows of a batch at most, about."""
        return most_rows(self.site, len(self.current))

    def kept(self) -> Iterable[Chunk]:
        """The chunks in memory, if it has room for them."""
        groups, outputs, width = self.site.matrix.shape
        size = 4 * groups * self.most * len(self.current) * (width + 2 * outputs)
        return list(self) if size <= KEPT_BYTES else self


def most_rows(site: Site, batches: int) -> int:
    """How many rows of each batch are looked at."""
    return max(1, -(-max(ROWS, ROWS_OF_A_COLUMN * site.layer.width) // batches))


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32, copy=False)
