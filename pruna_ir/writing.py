"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruna_ir.diagnostics import PrunaError, error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, which it becomes if all goes well and leaves alone otherwise.

    It lies in a scratch folder beside `path`, and has the permissions that any new file gets. Raises C003 if the place
    cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pruna-") as scratch:
            written = Path(scratch) / path.name
            yield written
            os.replace(written, path)
    except OSError as failure:
        raise unwritable(path, failure) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; raises C003."""
    with whole(path) as written:
        written.write_text(text, encoding="utf-8")


def unwritable(path: Path, failure: OSError) -> PrunaError:
    """The C003 diagnostic for a place that cannot be written."""
    help_text = "does the folder exist, and may you write there?"
    return error("C003", f"cannot write: {failure.strerror or failure}", place=path, help=help_text)
