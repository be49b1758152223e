"""coremltools, loaded without its noise."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

from pruna_ir.diagnostics import error


def require_coremltools() -> None:
    """Raise X001 if coremltools is not installed, without loading it."""
    if importlib.util.find_spec("coremltools") is None:
        help_text = 'pip install "pruna-ir[coreml]"'
        raise error("X001", "the package coremltools is not installed", help=help_text)


def coremltools() -> Any:
    """The package, which logs at import which other packages it has not been tested with; X001 without it.

    Whoever wants to read that sets a level for the logger `coremltools`.
    """
    require_coremltools()
    logger = logging.getLogger("coremltools")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    return importlib.import_module("coremltools")
