"""Write `docs/passes.md` and `docs/diagnostics.md` from the passes' documentation: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pruna_ir import registry
from pruna_ir.diagnostics import CODES
from pruna_ir.tools.inform import explain

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTE = "<!-- Written by scripts/make_docs.py: change the docstrings instead. -->"


def passes_page() -> Iterator[str]:
    """Every pass as `--explain` shows it, in the order of the registry."""
    yield from ("# Passes", "", NOTE, "")
    yield "`pruna-opt --explain NAME` prints these. Named pipelines:"
    yield ""
    yield from (f"- `{name}`: `{text}`" for name, text in registry.PIPELINES.items() if text)
    for name in registry.PASSES:
        yield from ("", f"## {name}", "", "```text", *(line.rstrip() for line in explain(name)), "```")


def diagnostics_page() -> Iterator[str]:
    """Every diagnostic code."""
    yield from ("# Diagnostics", "", NOTE, "")
    yield "Codes are stable. The exit code is that of a run which ends with the diagnostic."
    yield from ("", "| code | meaning | exit code |", "|---|---|---|")
    yield from (f"| {name} | {code.meaning} | {code.exit_code} |" for name, code in CODES.items())


PAGES = {"passes.md": passes_page, "diagnostics.md": diagnostics_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text("\n".join(page()) + "\n")


if __name__ == "__main__":
    main()
