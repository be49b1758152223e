"""Everything that pruna-opt says to people: on stderr, in colour on a terminal, with progress for long work."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from pruna_ir.diagnostics import error

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from pruna_ir.pipeline.context import Progress

# Seconds between two lines of progress where there is no terminal.
_LINE_SECONDS = 5.0
_STYLES = (
    (r"^(internal )?error(\[\w+\])?:", "bold red"),
    (r"^warning:", "bold yellow"),
    (r"^  -->", "blue"),
    (r"^  [|=]", "blue"),
    (r"\^+(?= help:|$)", "bold red"),
    (r"help:", "cyan"),
)


class Talk:
    """Messages of one run. `strict` turns the first warning into a failure."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, strict: bool = False) -> None:
        self.quiet, self.verbose, self.strict = quiet, verbose, strict

    @cached_property
    def console(self) -> Console:
        """The terminal or file behind stderr; rich honours NO_COLOR."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False, emoji=False)

    def say(self, message: str = "") -> None:
        """A message, unless --quiet."""
        if not self.quiet:
            self._print(message)

    def detail(self, message: str) -> None:
        """A message for --verbose."""
        if self.verbose:
            self._print(message)

    def show(self, renderable: RenderableType) -> None:
        """A table, unless --quiet."""
        if not self.quiet:
            self.console.print(renderable)

    def warn(self, message: str) -> None:
        """A warning, which --quiet does not silence; under --strict it is raised as C005 instead."""
        if self.strict:
            raise error("C005", message, help="--strict makes this warning a failure; nothing was written")
        self._print(f"warning: {message}")

    def fail(self, text: str) -> None:
        """A diagnostic, as `Diagnostic.render` writes it."""
        self._print(text)

    def _print(self, message: str) -> None:
        from rich.text import Text

        text = Text(message)
        for pattern, style in _STYLES:
            text.highlight_regex(re.compile(pattern, re.MULTILINE), style)
        self.console.print(text, soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A progress callback: a bar on a terminal, now and then a line elsewhere, nothing under --quiet."""
        from pruna_ir.pipeline.context import silent

        if self.quiet:
            yield silent
        elif self.console.is_terminal:
            with _bars(self.console) as update:
                yield update
        else:
            yield _Lines(self)


class _Lines:
    """Progress as lines, at most one in `_LINE_SECONDS`: short tasks say nothing."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._said = time.monotonic()

    def __call__(self, task: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _LINE_SECONDS:
            self._said = now
            self._talk.say(f"{task}: {done:,} of {total:,}" if total else f"{task}: {done:,}")


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    """One bar at a time: that of the task which reported last."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Drawn rarely: the run measures latencies meanwhile.
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bars:
        shown: dict[str, TaskID] = {}

        def update(task: str, done: int, total: int) -> None:
            if task not in shown:
                for finished in shown.values():
                    bars.remove_task(finished)
                shown.clear()
                shown[task] = bars.add_task(task, total=None)
            bars.update(shown[task], completed=done, total=total or None)

        yield update
