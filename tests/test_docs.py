"""The documentation says what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from pruna_ir import registry
from pruna_ir.diagnostics import CODES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["passes.md", "diagnostics.md"])
def test_generated_pages_are_up_to_date(page: str, script: ModuleType) -> None:
    written = (ROOT / "docs" / page).read_text()
    assert written == "\n".join(script.PAGES[page]()) + "\n", "run `make docs`"


def test_every_code_in_the_sources_is_known() -> None:
    used = set()
    for folder in ("pruna_ir", "passes", "backends", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= set(re.findall(r'error\(\s*"([A-Z]\d{3})"', path.read_text()))
    assert used <= CODES.keys()


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_of_the_readme_exist() -> None:
    """Every flag that the README shows is a flag, and every pass a pass."""
    from pruna_ir.tools.options import make_parser

    known = {flag.lstrip("-") for action in make_parser()._actions for flag in action.option_strings}
    text = (ROOT / "README.md").read_text()
    commands = [line for line in text.splitlines() if line.strip().startswith("pruna-opt ")]
    assert commands
    for line in commands:
        for flag in re.findall(r"\s-{1,2}([A-Za-z][\w-]*)", line):
            assert flag in known or flag in registry.PIPELINES, f"{flag} in: {line}"
