"""More samples than a file with fixed shapes takes at a time go through it in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

Feeds = Mapping[str, np.ndarray]


def turns(inputs: Sequence[TensorSpec], feeds: Feeds) -> list[Feeds]:
    """The feeds in pieces of as many samples as the file takes, the last of them filled up; D003 if an input lacks."""
    missing = [spec.name for spec in inputs if spec.name not in feeds]
    if missing:
        raise error("D003", "the samples do not fit the model's inputs", notes=[f"`{missing[0]}` is missing"])
    cut = {spec.name: int(spec.shape[0] or 0) for spec in inputs if _cut(spec, feeds[spec.name])}
    if not cut:
        return [feeds]
    number = max(-(-len(feeds[name]) // size) for name, size in cut.items())
    return [
        {name: _piece(value, turn, cut[name]) if name in cut else value for name, value in feeds.items()}
        for turn in range(number)
    ]


def joined(inputs: Sequence[TensorSpec], feeds: Feeds, parts: Sequence[np.ndarray]) -> np.ndarray:
    """An output of all turns, without what belongs to samples that only filled up the last one."""
    cut = next((spec for spec in inputs if _cut(spec, feeds[spec.name])), None)
    if cut is None or not parts[0].ndim:
        return parts[-1]
    rows = len(feeds[cut.name]) * len(parts[0]) // int(cut.shape[0] or 1)
    return np.concatenate(parts)[:rows]


def _cut(spec: TensorSpec, values: np.ndarray) -> bool:
    """Whether there are more or fewer samples than the file takes at a time."""
    size = spec.shape[0] if spec.shape else None
    return isinstance(size, int) and values.ndim == len(spec.shape) and values.shape[0] != size


def _piece(values: np.ndarray, turn: int, size: int) -> np.ndarray:
    """`size` samples for a turn; past the end, the last one again."""
    return np.asarray(values[np.minimum(np.arange(turn * size, (turn + 1) * size), len(values) - 1)])
