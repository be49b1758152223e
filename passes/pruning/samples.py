"""The samples that pruning looks at: never those of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.data import BoundDataset, Preprocessing
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

    Images of which there are few come with their mirror images, which are not counted. They stand in one batch, so that
    nothing that is fitted to some batches and judged by others has seen the judges in a mirror. Raises D005 if the data
    have neither split.
    """
    splits = [split for split in (data.calibration, data.train) if split is not None] or [data.require("calibration")]
    known = sum(split.size if split.size is not None else FEW + 1 for split in splits)
    few = min(known, samples) <= FEW
    mirror = (
        _mirror(data) if few and all(split.fit.batched and split.fit.static_batch is None for split in splits) else None
    )
    feeds: list[Feeds] = []
    room, space = samples, MEMORY
    for split in splits:
        if room <= 0:
            break
        for batch in split.head(room).batches(SMALL_BATCH if few else BATCH):
            values = batch.feeds if mirror is None else _with_mirrored(batch.feeds, mirror)
            size = sum(value.nbytes for value in values.values())
            if feeds and size > space:
                return feeds
            feeds.append(values)
            room, space = room - batch.count, space - size
    return feeds


def _mirror(data: BoundDataset) -> int | None:
    """The axis of a batch along which left and right are exchanged, if the samples are described as images."""
    preprocessing = data.dataset.preprocessing
    if data.dataset.image_folder:
        preprocessing = Preprocessing.for_model(data.inputs[0])
    if preprocessing is None or len(data.inputs) != 1 or len(data.inputs[0].shape) != 4:
        return None
    return 3 if preprocessing.layout == "NCHW" else 2


def _with_mirrored(feeds: Feeds, axis: int) -> Feeds:
    return {name: np.concatenate([value, np.flip(value, axis)]) for name, value in feeds.items()}


def first_feeds(data: BoundDataset | None, model: Model) -> Feeds:
    """One sample to take times on: of the data, or made up where there are none."""
    if data is None or data.synthetic:
        return random_feeds(Session(model, optimize=False).inputs, seed=0)
    split = data.calibration or data.train or data.require("calibration")
    return next(iter(split.head(1).batches(1))).feeds
