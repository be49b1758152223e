"""Measured tables in pages of the documentation: each between two comments that name it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def put(page: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`, each on a line of its own.

    Raises ValueError if the page does not have both, once.
    """
    before, start, rest = page.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not end or start in after:
        raise ValueError(f"{page} has no place for one table `{name}`")
    page.write_text(f"{before}{start}{text}\n{end}{after}")
