"""A .mlpackage, read from disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruna_ir.backends.coreml.toolbox import coremltools, require_coremltools
from pruna_ir.diagnostics import error

_LONGEST_MESSAGE = 300
_WEIGHTS = Path("Data", "com.apple.CoreML", "weights")


@dataclass(frozen=True)
class Package:
    """What is in a package: its description (a protobuf), and its program with the weights, as coremltools reads it."""

    path: Path
    spec: Any
    program: Any

    @property
    def version(self) -> int:
        """The specification version: 7 for iOS 16, 8 for iOS 17, 9 for iOS 18."""
        return int(self.spec.specificationVersion)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata that the user of the package reads."""
        return dict(self.spec.description.metadata.userDefined)


def read_package(path: Path) -> Package:
    """Read a package; X001 without coremltools, M001 if there is none, E002 if coremltools cannot read it."""
    require_coremltools()
    if not path.exists():
        raise error("M001", "no such package", place=path)
    ct = coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        spec = ct.utils.load_spec(str(path))
        version, weights = spec.specificationVersion, str(path / _WEIGHTS)
        program = load(spec, specification_version=version, file_weights_dir=weights)
    except Exception as failure:  # whatever coremltools meets in a broken file
        raise error("E002", f"coremltools cannot read the package: {_line(failure)}", place=path.name) from None
    return Package(path, spec, program)


def _line(failure: Exception) -> str:
    text = " ".join(str(failure).split()) or type(failure).__name__
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
