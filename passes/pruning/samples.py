"""The samples that pruning looks at: never those of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.data import BoundDataset
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Feeds = Mapping[str, np.ndarray]

# Samples of a batch where the model takes any number: of few samples there are small batches, because the noise of what
# is fitted is told from how batches differ. And the memory that all batches together may take.
BATCH, SMALL_BATCH, FEW = 16, 4, 256
MEMORY = 1 << 30


def training_feeds(data: BoundDataset, samples: int) -> list[Feeds]:
    """Batches of the calibration split and then of the train split, `samples` in all unless they take too much memory.

    Raises D005 if the data have neither.
    """
    splits = [split for split in (data.calibration, data.train) if split is not None] or [data.require("calibration")]
    known = sum(split.size if split.size is not None else FEW + 1 for split in splits)
    feeds: list[Feeds] = []
    room, space = samples, MEMORY
    for split in splits:
        if room <= 0:
            break
        for batch in split.head(room).batches(SMALL_BATCH if min(known, samples) <= FEW else BATCH):
            size = sum(value.nbytes for value in batch.feeds.values())
            if feeds and size > space:
                return feeds
            feeds.append(batch.feeds)
            room, space = room - batch.count, space - size
    return feeds


def first_feeds(data: BoundDataset | None, model: Model) -> Feeds:
    """One sample to take times on: of the data, or made up where there are none."""
    if data is None or data.synthetic:
        return random_feeds(Session(model, optimize=False).inputs, seed=0)
    split = data.calibration or data.train or data.require("calibration")
    return next(iter(split.head(1).batches(1))).feeds
