"""A package of somebody else, installed in a folder: what entry points find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, module: str, source: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write `module` and the metadata of its distribution; it is installed once `folder` is on `sys.path`.

    `entry_points` maps a group (`pruna_ir.passes`) to names and what they refer to (`module:attribute`).
    """
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {reference}" for name, reference in entries.items())])
        for group, entries in entry_points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
