"""Where samples come from: arrays in memory, random numbers. See also `iterables`, `files` and `images`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

UNNAMED = ""
"""The key of an array that goes to the model's single input, whatever that is called."""

UNKNOWN_DIM = 64
"""The size that random samples give to a dimension that the model leaves open."""


@dataclass(frozen=True)
class Sample:
    """Named arrays, without a batch axis or with one, and their label (None where there is none)."""

    arrays: Mapping[str, np.ndarray]
    label: Any = None


class Source(ABC):
    """A sequence of samples that can be gone through more than once, in the same order each time."""

    @abstractmethod
    def samples(self, start: int = 0) -> Iterator[Sample]:
        """The samples from number `start` on."""

    def __iter__(self) -> Iterator[Sample]:
        return self.samples()

    @property
    def labelled(self) -> bool:
        """Whether the samples come with labels."""
        return False

    @property
    def size(self) -> int | None:
        """How many samples there are, where that is known without going through them."""
        return None

    def bind(self, inputs: Sequence[TensorSpec]) -> Source:
        """The same source once the model's inputs are known."""
        return self


@dataclass(frozen=True)
class ArraySource(Source):
    """Arrays whose first axis counts samples.

    Fewer labels than samples are allowed where they divide them: label i belongs to samples k*i ... k*i + k-1 and
    comes with the last of them (sentence pairs, for one).
    """

    arrays: Mapping[str, np.ndarray]
    labels: Sequence[Any] | np.ndarray | None = None
    place: str = ""

    def __post_init__(self) -> None:
        sizes = {name: len(array) if array.ndim else 0 for name, array in self.arrays.items()}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"`{name}` {size}" for name, size in sizes.items())
            raise error("D003", f"the arrays hold different numbers of samples: {shown}", place=self.place)
        if self.labels is not None and self.size:
            count = len(self.labels)
            if count == 0 or count > self.size or self.size % count:
                message = f"{count} labels do not fit {self.size} samples"
                raise error("D007", message, place=self.place, help="give one label a sample")

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.labels is not None

    @property
    def size(self) -> int:
        """The length of the first axis."""
        return min((len(array) if array.ndim else 0 for array in self.arrays.values()), default=0)

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Views of the arrays."""
        group = self.size // len(self.labels) if self.labels is not None and self.size else 1
        for index in range(start, self.size):
            arrays = {name: array[index] for name, array in self.arrays.items()}
            last = (index + 1) % group == 0
            yield Sample(arrays, self.labels[index // group] if self.labels is not None and last else None)


@dataclass(frozen=True)
class RandomSource(Source):
    """Seeded N(0, 1) samples in the shapes of the model's inputs (integers and booleans: 0 or 1).

    Good enough to run a graph, worthless for ranges. Open dimensions get `UNKNOWN_DIM`.
    """

    count: int = 32
    seed: int = 0
    inputs: tuple[TensorSpec, ...] = field(default=())

    @property
    def size(self) -> int:
        """The number of samples."""
        return self.count

    def bind(self, inputs: Sequence[TensorSpec]) -> Source:
        """The samples take the shapes of `inputs`."""
        return replace(self, inputs=tuple(inputs))

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """The same numbers each time."""
        from pruna_ir.data.fit import batch_axis

        skip = 1 if batch_axis(self.inputs) else 0
        rng = np.random.default_rng(self.seed)
        for index in range(self.count):
            sample = Sample({spec.name: _random(rng, spec, skip) for spec in self.inputs})
            if index >= start:
                yield sample


def _random(rng: np.random.Generator, spec: TensorSpec, skip: int) -> np.ndarray:
    shape = tuple(dim if isinstance(dim, int) else UNKNOWN_DIM for dim in spec.shape[skip:])
    if spec.dtype.kind == "f":
        return np.asarray(rng.standard_normal(shape), spec.dtype)
    return rng.integers(0, 2, shape).astype(spec.dtype)


@dataclass(frozen=True)
class MappedSource(Source):
    """Another source, with a function applied to every array."""

    source: Source
    function: Callable[[np.ndarray], np.ndarray]

    @property
    def labelled(self) -> bool:
        """As the source."""
        return self.source.labelled

    @property
    def size(self) -> int | None:
        """As the source."""
        return self.source.size

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """The samples with their arrays mapped."""
        for sample in self.source.samples(start):
            yield Sample({name: self.function(array) for name, array in sample.arrays.items()}, sample.label)


class CachedSource(Source):
    """Another source, with its first samples kept in memory up to a limit; the rest is read again each time."""

    def __init__(self, source: Source, limit_bytes: int) -> None:
        self._source = source
        self._room = limit_bytes
        self._kept: list[Sample] = []

    @property
    def labelled(self) -> bool:
        """As the source."""
        return self._source.labelled

    @property
    def size(self) -> int | None:
        """As the source."""
        return self._source.size

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Kept samples first, then those of the source."""
        kept = len(self._kept)
        yield from self._kept[start:kept]
        if kept == self.size:
            return
        for position, sample in enumerate(self._source.samples(max(start, kept)), max(start, kept)):
            if position == len(self._kept):
                self._keep(sample)
            yield sample

    def _keep(self, sample: Sample) -> None:
        self._room -= sum(array.nbytes for array in sample.arrays.values())
        if self._room >= 0:
            self._kept.append(sample)
