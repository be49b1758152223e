"""Samples from whatever gives them one after the other: data loaders, generators, lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from pruna_ir.data.sources import UNNAMED, ArraySource, Sample, Source
from pruna_ir.diagnostics import PrunaError, error


def source_from(data: Any, place: str, again: Callable[[], Iterable[Any]] | None = None) -> Source:
    """A source from an array or {name: array} (axis 0 counts samples), (one of these, labels), or any iterable.

    `again` makes a one-shot iterator anew for every pass, where there is such a function.
    """
    labels = None
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], np.ndarray | Mapping):
        data, labels = data[0], as_array(data[1], place)
    if isinstance(data, Mapping):
        return ArraySource({str(name): as_array(value, place) for name, value in data.items()}, labels, place)
    if isinstance(data, np.ndarray):
        return ArraySource({UNNAMED: as_array(data, place)}, labels, place)
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise error("D008", f"an iterable of samples is wanted, not `{type(data).__name__}`", place=place)
    if again is not None and isinstance(data, Iterator):
        return IterableSource.over(again, place)
    repeatable = Replay(data) if isinstance(data, Iterator) else data
    return IterableSource.over(lambda: repeatable, place)


class Replay(Iterable[Any]):
    """An iterator made repeatable: what it gave is kept. The price of a one-shot generator is its memory."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self._seen: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while True:
            if position == len(self._seen):
                try:
                    self._seen.append(next(self._iterator))
                except StopIteration:
                    return
            yield self._seen[position]
            position += 1


@dataclass(frozen=True)
class IterableSource(Source):
    """What a data loader gives: arrays, (input, label) tuples or lists, or {input name: array}; samples or batches.

    `open` starts a pass. It must give the same samples each time: a loader that shuffles makes runs differ.
    """

    open: Callable[[], Iterable[Any]]
    place: str
    labelled: bool = False

    @staticmethod
    def over(open: Callable[[], Iterable[Any]], place: str) -> IterableSource:
        """A source whose first item (D005 if there is none) shows whether there are labels."""
        source = IterableSource(open, place)
        first = next(iter(source), None)
        if first is None:
            raise error("D005", "the iterable gives no samples", place=place)
        return replace(source, labelled=first.label is not None)

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """A new pass over the iterable; D008 when it raises."""
        # The iterable is the user's code: whatever it raises becomes a diagnostic.
        try:
            iterator = islice(self.open(), start, None)
            while True:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                yield to_sample(item, self.place)
        except PrunaError:
            raise
        except Exception as failure:
            message = f"the data iterable failed: {type(failure).__name__}: {failure}"
            raise error("D008", message, place=self.place) from failure


def to_sample(item: Any, place: str) -> Sample:
    """Read one item of a loader; D003 when it has another form."""
    label = None
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise error(
                "D003",
                f"an item of the data has {len(item)} parts; (input, label) has two",
                place=place,
                help="give {input name: array} for a model of several inputs",
            )
        label = as_array(item[1], place) if len(item) == 2 else None
        item = item[0]
    if isinstance(item, Mapping):
        return Sample({str(name): as_array(value, place) for name, value in item.items()}, label)
    return Sample({UNNAMED: as_array(item, place)}, label)


def as_array(value: Any, place: str) -> np.ndarray:
    """A numpy array from an array, a torch or TensorFlow tensor, or numbers; D003 from anything else."""
    try:
        # torch: a tensor that is on a device or wants a gradient has to be taken off both first.
        for step in ("detach", "cpu", "numpy"):
            method = getattr(value, step, None)
            value = method() if callable(method) else value
        array = np.asarray(value)
    except Exception as failure:
        message = f"`{type(value).__name__}` does not convert to an array: {failure}"
        raise error("D003", message, place=place) from failure
    if array.dtype.kind not in "biufc":
        raise error("D003", f"`{type(value).__name__}` is not an array of numbers", place=place)
    return array
