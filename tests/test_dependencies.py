"""Who may import whom: the four folders depend on each other in one direction only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each layer may import itself and what is listed.
MAY_IMPORT: dict[str, set[str]] = {
    "pruna_ir": set(),
    "pruna_ir.passes": {"pruna_ir"},
    "pruna_ir.backends": {"pruna_ir", "pruna_ir.passes"},
    "pruna_ir.tools": {"pruna_ir", "pruna_ir.passes", "pruna_ir.backends"},
}

# The one file of the lowest layer that may name modules of the others, as text that is imported when asked for.
REGISTRY = "pruna_ir.registry"

REFERENCE = re.compile(r"pruna_ir\.(passes|backends|tools)(\.\w+)*(:\w+)?")


def layer_of(module: str) -> str:
    """The layer that a dotted module name belongs to."""
    return max((layer for layer in MAY_IMPORT if f"{module}.".startswith(f"{layer}.")), key=len)


def imported_modules(tree: ast.Module, package: str) -> Iterator[str]:
    """Every module of ours that the code imports, at its top or inside functions; `package` resolves relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from pruna_ir import passes` imports pruna_ir.passes.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def named_modules(tree: ast.Module) -> Iterator[str]:
    """Texts that are the name of a module of an upper layer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and REFERENCE.fullmatch(node.value):
            yield node.value


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a module that the direction forbids."""
    tree = ast.parse(source)
    layer = layer_of(module)
    package = module if is_package else module.rpartition(".")[0]
    used = {name for name in imported_modules(tree, package) if f"{name}.".startswith("pruna_ir.")}
    if layer == "pruna_ir" and module != REGISTRY:
        used |= set(named_modules(tree))
    allowed = {layer, *MAY_IMPORT[layer]}
    return sorted(name for name in used if layer_of(name) not in allowed)


def modules() -> Iterator[tuple[str, Path]]:
    """Name and file of every module of the four folders."""
    for folder in ("pruna_ir", "passes", "backends", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield (name if folder == "pruna_ir" else f"pruna_ir.{name}"), path


def test_imports_point_down() -> None:
    found = {
        name: broken
        for name, path in modules()
        if (broken := violations(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py"))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("pruna_ir.data.split", "import pruna_ir.passes.fusion.fuse", ["pruna_ir.passes.fusion.fuse"]),
        ("pruna_ir.data.split", "from pruna_ir import tools", ["pruna_ir.tools"]),
        ("pruna_ir.data.split", "from ..backends import onnxruntime", ["pruna_ir.backends.onnxruntime"]),
        ("pruna_ir.data.split", "def f():\n    from pruna_ir.passes import fusion", ["pruna_ir.passes.fusion"]),
        ("pruna_ir.data.split", "load('pruna_ir.passes.fusion.fuse:Fuse')", ["pruna_ir.passes.fusion.fuse:Fuse"]),
        ("pruna_ir.registry", "TABLE = {'fuse': 'pruna_ir.passes.fusion.fuse:Fuse'}", []),
        ("pruna_ir.registry", "from pruna_ir.passes.fusion.fuse import Fuse", ["pruna_ir.passes.fusion.fuse.Fuse"]),
        ("pruna_ir.passes.fusion.fuse", "from pruna_ir.backends import tflite", ["pruna_ir.backends.tflite"]),
        ("pruna_ir.passes.fusion.fuse", "from pruna_ir.model import Model\nfrom . import rules\nimport numpy", []),
        ("pruna_ir.backends.tflite.emit", "from pruna_ir.passes.fusion import fuse", []),
        ("pruna_ir.backends.tflite.emit", "from pruna_ir.tools import pruna_opt", ["pruna_ir.tools.pruna_opt"]),
        ("pruna_ir.tools.pruna_opt", "from pruna_ir.backends import tflite\nfrom pruna_ir.passes import fusion", []),
        ("pruna_ir.passes_of_time", "import pruna_ir.passes_of_time.clock", []),
    ],
)
def test_checker(module: str, source: str, expected: list[str]) -> None:
    assert violations(source, module) == expected


def test_checker_resolves_relative_imports_of_a_package() -> None:
    assert violations("from . import passes", "pruna_ir", is_package=True) == ["pruna_ir.passes"]
