"""The folders, the links and the packaging tables say the same thing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("passes", "backends", "tools")
MAX_LINES = 350


def setuptools_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return table


def product_files() -> Iterator[Path]:
    """Every file of the four folders, once: rglob does not follow the links."""
    for folder in ("pruna_ir", *LINKED):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def package_of(folder: Path) -> str:
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "pruna_ir" else ("pruna_ir", *parts))


def test_declared_packages_are_the_folders_with_code() -> None:
    declared = setuptools_table()["packages"]
    found = {package_of(path.parent) for path in product_files() if path.suffix == ".py"}
    assert set(declared) == found
    assert len(declared) == len(set(declared))


def test_every_package_has_an_init() -> None:
    folders = {path.parent for path in product_files() if path.suffix == ".py"}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_data_file_is_packaged() -> None:
    globs = setuptools_table()["package-data"]
    unpackaged = [
        path.relative_to(ROOT)
        for path in product_files()
        if path.suffix not in {".py", ".pyc"}
        and not any(fnmatch(path.name, glob) for glob in globs.get(package_of(path.parent), ()))
    ]
    assert unpackaged == []


@pytest.mark.parametrize("package", sorted(setuptools_table()["package-data"]))
def test_every_data_glob_matches_a_file(package: str) -> None:
    folder = ROOT / package.replace(".", "/")
    unmatched = [glob for glob in setuptools_table()["package-data"][package] if not list(folder.glob(glob))]
    assert unmatched == []


@pytest.mark.parametrize("folder", LINKED)
def test_folder_is_mapped_and_linked(folder: str) -> None:
    assert setuptools_table()["package-dir"][f"pruna_ir.{folder}"] == folder
    link = ROOT / "pruna_ir" / folder
    if not link.is_symlink():
        pytest.skip("checkout without symbolic links")
    assert link.readlink() == Path("..") / folder


@pytest.mark.parametrize("folder", LINKED)
def test_bare_import_is_refused(folder: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"ImportError: import pruna_ir.{folder}, not {folder}" in run.stderr


def test_no_file_is_too_long() -> None:
    code = [path for path in (*product_files(), *(ROOT / "tests").rglob("*.py")) if path.suffix == ".py"]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in code}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
