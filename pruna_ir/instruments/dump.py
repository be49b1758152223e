"""What each pass did to the model, as files to open in a viewer and as text differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir.diagnostics import error
from pruna_ir.instruments import text
from pruna_ir.instruments.base import Instrument
from pruna_ir.instruments.line_diff import hunks
from pruna_ir.model.save import write

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass

# Lines of difference that are shown for one pass.
SHOWN_LINES = 200


class DumpDir(Instrument):
    """Writes the model to a folder after each pass that changed it: `003-fuse.onnx`, and `003-fuse.txt` to read.

    The number is the pass's place in the pipeline, from 1; `000-input` is what the first pass gets. The folder is
    made; raises C003 if it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.written: list[Path] = []

    def start(self, model: Model, context: Context) -> None:
        self._dump(model, 0, "input")

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        if stage.changed:
            self._dump(model, index + 1, item.name)

    def _dump(self, model: Model, number: int, name: str) -> None:
        path = self.path / f"{number:03}-{name}.onnx"
        listing = path.with_suffix(".txt")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            listing.write_text("\n".join(text.lines(model)) + "\n")
        except OSError as failure:
            raise error("C003", f"cannot write: {failure.strerror}", place=listing) from None
        write(model.to_proto(), path)
        self.written += [path, listing]


class PrintChanged(Instrument):
    """Gives `write` the difference in text that each pass made, in at most `SHOWN_LINES` lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lines: list[str] = []

    def start(self, model: Model, context: Context) -> None:
        self._lines = text.lines(model)

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        if not stage.changed:
            return
        before, self._lines = self._lines, text.lines(model)
        self._write(difference(before, self._lines, f"{index + 1} {stage.text}"))


def difference(before: list[str], after: list[str], title: str) -> str:
    """The difference of two listings under a title, cut after `SHOWN_LINES` lines."""
    shown = list(islice(hunks(before, after), SHOWN_LINES + 1))
    if not shown:
        return f"--- {title}: nothing that the listing shows has changed"
    if len(shown) > SHOWN_LINES:
        shown[SHOWN_LINES:] = ["... (more follows; --dump-dir writes all of it)"]
    return "\n".join([f"--- before {title}", f"+++ after {title}", *shown])
