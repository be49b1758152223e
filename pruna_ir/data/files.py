"""Samples in .npz and .npy files. Nothing pickled is ever loaded: unpickling runs code."""

from __future__ import annotations

import difflib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.data.sources import UNNAMED, ArraySource, Sample, Source
from pruna_ir.diagnostics import PrunaError, did_you_mean, error
from pruna_ir.model.spec import TensorSpec

_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def require(path: Path, place: object = "") -> Path:
    """The path itself; D001 when nothing is there."""
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        help_text = did_you_mean(path.name, close, "file") if close else ""
        raise error("D001", f"no such file or folder: `{path}`", place=place or path, help=help_text)
    return path


def load_npy(path: Path) -> np.ndarray:
    """An array of a .npy file, memory-mapped. D001 when it cannot be read, D006 when it is pickled."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as failure:
        raise _unreadable(path, failure) from failure
    if not isinstance(array, np.ndarray):
        array.close()
        raise error("D001", "the file is an archive of arrays, not one array", place=path, help="name it .npz")
    return array


def load_npz(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file (all by default). D001: unreadable or no such array; D006: pickled."""
    held = array_names(path)
    for name in names or ():
        if name not in held:
            raise error("D001", f"the file has no array `{name}`", place=path, help=did_you_mean(name, held, "array"))
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in (held if names is None else names)}
    except _UNREADABLE as failure:
        raise _unreadable(path, failure) from failure


def array_names(path: Path) -> list[str]:
    """The names of the arrays of a .npz file, without loading them. Raises as `load_npz`."""
    try:
        # A stream of our own: numpy leaves the file open when the archive is broken.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            names = None if isinstance(archive, np.ndarray) else list(archive.files)
    except _UNREADABLE as failure:
        raise _unreadable(path, failure) from failure
    if names is None:
        raise error("D001", "the file is one array, not an archive of arrays", place=path, help="name it .npy")
    return names


def _unreadable(path: Path, failure: Exception) -> PrunaError:
    if isinstance(failure, FileNotFoundError):
        return error("D001", "no such file", place=path)
    text = str(failure).lower()
    # numpy takes every file without its own first bytes for a pickle; those begin with byte 0x80.
    if "pickled" in text and path.read_bytes()[:1] != b"\x80":
        return error("D001", "the file is not a .npz or .npy file, or it is cut short", place=path)
    if any(word in text for word in ("pickle", "object array", "python objects")):
        return error("D006", "the file holds pickled objects", place=path, help="save plain arrays of numbers")
    return error("D001", f"the file cannot be read: {failure}", place=path)


@dataclass(frozen=True)
class NpzSource(Source):
    """Arrays of a .npz file, loaded when first needed.

    `arrays` maps input names to array names (`UNNAMED` for the single input). None takes the file's only array, or
    else those that carry the names of the model's inputs. `labels` is an array of the same file.
    """

    path: Path
    arrays: Mapping[str, str] | None = None
    labels: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether an array holds labels."""
        return self.labels is not None

    @cached_property
    def _content(self) -> ArraySource:
        labels = load_npz(self.path, [self.labels])[self.labels] if self.labels is not None else None
        if self.arrays is not None:
            loaded = load_npz(self.path, sorted(set(self.arrays.values())))
            return ArraySource({name: loaded[array] for name, array in self.arrays.items()}, labels, str(self.path))
        loaded = load_npz(self.path)
        loaded.pop(self.labels or "", None)
        if len(loaded) == 1:
            loaded = {UNNAMED: next(iter(loaded.values()))}
        return ArraySource(loaded, labels, str(self.path))

    @property
    def size(self) -> int | None:
        """The number of samples (reads the file)."""
        return self._content.size

    def bind(self, inputs: Sequence[TensorSpec]) -> Source:
        """Choose the arrays by the model's input names, where the description names none."""
        if self.arrays is not None:
            return self
        held = set(array_names(self.path))
        wanted = {spec.name: spec.name for spec in inputs}
        return replace(self, arrays=wanted) if wanted and set(wanted) <= held else self

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Views of the arrays."""
        return self._content.samples(start)


@dataclass(frozen=True)
class NpySource(Source):
    """A .npy file whose first axis counts samples; memory-mapped."""

    path: Path
    labels: Sequence[Any] | np.ndarray | None = None

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.labels is not None

    @cached_property
    def _content(self) -> ArraySource:
        return ArraySource({UNNAMED: load_npy(self.path)}, self.labels, str(self.path))

    @property
    def size(self) -> int | None:
        """The number of samples."""
        return self._content.size

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Views of the arrays."""
        return self._content.samples(start)


@dataclass(frozen=True)
class NpyFolderSource(Source):
    """One sample a .npy file, read when its turn comes."""

    paths: tuple[Path, ...]
    labels: tuple[Any, ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.labels is not None

    @property
    def size(self) -> int | None:
        """The number of files."""
        return len(self.paths)

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """The files' arrays."""
        for index in range(start, len(self.paths)):
            array = np.array(load_npy(self.paths[index]))
            yield Sample({UNNAMED: array}, self.labels[index] if self.labels else None)
