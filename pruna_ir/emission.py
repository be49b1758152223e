"""Emission: what a back end is, and how a model becomes a file that has been checked.

A back end legalizes the model until it can write it, emits it into a scratch folder, and checks what it wrote next to
the model. Only then is it published, that is, moved to its place: a failure leaves nothing half-written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pruna_ir import registry
from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.pipeline.grammar import Element, parse_pipeline
from pruna_ir.pipeline.options import print_options, read_options
from pruna_ir.writing import unwritable

if TYPE_CHECKING:
    import numpy as np

    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model
    from pruna_ir.remarks import Remark
    from pruna_ir.runtime.runner import Runner
    from pruna_ir.runtime.session import Session

Feeds = dict[str, "np.ndarray"]
# The user's samples that a written file is compared on.
CHECKED_SAMPLES = 4


@dataclass(frozen=True)
class Check:
    """A check that the written file has passed, and what was seen."""

    name: str
    result: str


@dataclass(frozen=True)
class Artifact:
    """What a back end wrote: `bytes` on disk of what is deployed, and `sha256` of every file that belongs to it.

    `remarks` say what it could not write as the model has it.
    """

    path: Path
    backend: str
    bytes: int
    sha256: str
    checks: tuple[Check, ...]
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Backend(ABC):
    """Base of all back ends; a subclass is a frozen dataclass whose fields (made with `option`) are its options.

    `suffix` is that of its files, `target` the table that models for it are optimized for by default, `runtime` what
    its files are run and timed in.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    target: ClassVar[str]
    runtime: ClassVar[str] = "ONNX Runtime"

    def require_packages(self) -> None:
        """Raise X001 if a package that it needs is not installed: asked before any work."""
        return

    def for_data(self, data: BoundDataset) -> Backend:
        """Itself, with what it writes into its files about the data, such as their normalisation."""
        return self

    def legalize(self, model: Model) -> Model:
        """What this back end can write: `model` as it is, or a changed copy."""
        return model

    @property
    def file_name(self) -> str:
        """What its file is called where nobody named it: in the folder for several back ends."""
        return f"model{self.suffix}"

    @abstractmethod
    def emit(self, model: Model, path: Path) -> Sequence[Remark] | None:
        """Write the model to `path`, and what belongs to it beside it, and say what is not as the model has it.

        Raises a diagnostic if it cannot be written.
        """

    @abstractmethod
    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Compare the written file with the model, on `samples` (which may be none); E002 if they do not agree."""

    def session(self, path: Path, threads: int = 1) -> Runner:
        """The written file, ready to run and be timed; E003 if its runtime does not run on this machine."""
        raise error("E003", f"`{self.name}` files do not run on this machine", place=path.name)

    def original(self, model: Model) -> Runner | None:
        """The model as it was brought, in `runtime`, to be timed next to a written file; None: it runs there as it is.

        Raises a diagnostic if it cannot be written in its present form.
        """
        return None

    def size(self, path: Path) -> int:
        """Bytes of a file that was written, with all that is deployed with it."""
        return bytes_on_disk(path)

    def wrote(self, path: Path) -> bool:
        """Whether a folder is one that this back end has written, which a run may replace."""
        return False

    def __str__(self) -> str:
        return str(Element(self.name, tuple(print_options(self))))


@dataclass
class Emitted:
    """What a back end has written to `path`, and `model`, which it was made from (legalized).

    Sessions are opened once and kept, because opening a large model takes long.
    """

    backend: Backend
    model: Model
    path: Path
    _reference: Session | None = None
    _sessions: dict[int, Runner] = field(default_factory=dict)

    @property
    def reference(self) -> Session:
        """The model in memory, in ONNX Runtime without graph optimizations."""
        from pruna_ir.runtime.session import Session

        if self._reference is None:
            self._reference = Session(self.model, optimize=False)
        return self._reference

    def session(self, threads: int = 1) -> Runner:
        """The file, as `Backend.session` opens it."""
        if threads not in self._sessions:
            self._sessions[threads] = self.backend.session(self.path, threads)
        return self._sessions[threads]


def parse_backends(text: str, place: str = "--emit") -> tuple[Backend, ...]:
    """The back ends that text in the pipeline language names, e.g. `onnx`; raises E001, P001, P003, P004."""
    return tuple(_make(element, text, place) for element in parse_pipeline(text, place))


def _make(element: Element, text: str, place: str) -> Backend:
    cls = registry.backend(element.name)
    made: Backend = cls(**read_options(cls, element, text, place))
    return made


@contextmanager
def staged(
    model: Model, backend: Backend, path: Path, samples: Sequence[Feeds], reference: Session | None = None
) -> Iterator[Staged]:
    """Write and check in a scratch folder beside `path`; `publish` what comes out, or it is gone at the end.

    `reference` is a session of `model` without graph optimizations, if there is one. Raises C003 if the place cannot be
    written, E002 if the file does not agree with the model.
    """
    refuse_folder(path, backend)
    legal = backend.legalize(model)
    try:
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=".pruna-"))
    except OSError as failure:
        raise unwritable(path, failure) from None
    try:
        written = scratch / path.name
        remarks = tuple(backend.emit(legal, written) or ())
        emitted = Emitted(backend, legal, written, reference if legal is model else None)
        checks = backend.check(emitted, samples)
        files = sorted(part for part in scratch.rglob("*") if part.is_file())
        size, sha256 = backend.size(written), _sha256(files, scratch)
        yield Staged(emitted, Artifact(path, backend.name, size, sha256, checks, remarks))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class Staged:
    """A file that is written and checked, but not in its place yet."""

    emitted: Emitted
    artifact: Artifact

    def publish(self) -> Artifact:
        """Move it, and what belongs to it, to its place; raises C003."""
        path = self.artifact.path
        try:
            for part in self.emitted.path.parent.iterdir():
                place = path.parent / part.name
                refuse_folder(place, self.emitted.backend)
                if place.is_dir():
                    shutil.rmtree(place)
                os.replace(part, place)
        except OSError as failure:
            raise unwritable(path, failure) from None
        return self.artifact


def emit(model: Model, backend: str | Backend, path: str | Path, *, data: Any = None) -> Artifact:
    """Write `model` with a back end (`onnx`, or text with options), checked on the first samples of `data`.

    `data` is a Dataset or whatever `Dataset.load` takes; without it made-up inputs are used. Raises C002 if `path` is
    the file that the model came from, C003 if it cannot be written, E001 to E002, P003 to P004.
    """
    from pruna_ir.pipeline.manager import bind
    from pruna_ir.runtime.session import Session

    path = Path(path)
    chosen = backend if isinstance(backend, Backend) else _only(parse_backends(backend, "emit"), str(backend))
    if model.source is not None:
        refuse_same_file(path, [model.source])
    chosen.require_packages()
    bound = bind(data, model)
    chosen = chosen if bound is None else chosen.for_data(bound)
    reference = Session(model, optimize=False)
    with staged(model, chosen, path, first_samples(reference, bound), reference) as result:
        return result.publish()


def first_samples(session: Session, data: BoundDataset | None, count: int = CHECKED_SAMPLES) -> list[Feeds]:
    """Feeds of single samples: the first ones of the calibration split, else one made up.

    A made-up sample on which the model does not run, or gives NaN, is none: the list is empty then.
    """
    if data is not None:
        return [dict(batch.feeds) for batch in data.require("calibration").head(count).batches(1)]
    try:
        feeds, outputs = runnable_feeds(session.run, session.inputs)
    except PrunaError:
        return []
    return [] if outputs_with_nan(outputs) else [feeds]


def outputs_with_nan(outputs: Feeds) -> list[str]:
    """Names of the outputs that hold NaN."""
    return [name for name, values in outputs.items() if values.dtype.kind == "f" and (values != values).any()]


def refuse_same_file(path: Path, sources: Sequence[Path]) -> None:
    """Raise C002 if `path` is one of `sources`, by whatever name or link."""
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            help_text = "name another file: the input is never overwritten"
            raise error("C002", f"the output is the input `{source}`", place=path, help=help_text)


def refuse_folder(path: Path, backend: Backend | None = None) -> None:
    """Raise C003 if `path` is a folder, but for one that the back end has written, which it may replace."""
    if path.is_dir() and (backend is None or not backend.wrote(path)):
        whose = f" that `{backend.name}` did not write" if backend is not None else ""
        raise error("C003", f"cannot write: this is a folder{whose}", place=path, help="name a file in it")


def _only(backends: Sequence[Backend], text: str) -> Backend:
    if len(backends) != 1:
        raise error("E001", f"`{text}` names {len(backends)} back ends, not one")
    return backends[0]


def _sha256(files: Sequence[Path], folder: Path) -> str:
    """The hash of one file as every tool prints it; of several, of their names and hashes in order."""
    hashes = [_file_sha256(path) for path in files]
    if len(files) == 1:
        return hashes[0]
    lines = [f"{value}  {path.relative_to(folder).as_posix()}\n" for value, path in zip(hashes, files, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
