"""Functions of the user's, named in text: `module:function` or `path/to/file.py:function`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pruna_ir.diagnostics import did_you_mean, error


def load_function(text: str, folder: Path, place: object = "") -> Callable[..., Any]:
    """The function that `text` names; files are relative to `folder`, modules may lie in it.

    Raises: D001 when there is no such file, module or function; D008 when its module fails on import.
    """
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise error("D001", f"`{text}` does not name a function", place=place, help="write `module:function`")
    module = _load_file(folder / where, place) if where.endswith(".py") else _load_module(where, folder, place)
    function = getattr(module, name, None)
    if not callable(function):
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        help_text = did_you_mean(name, callables, "function")
        raise error("D001", f"`{where}` has no function `{name}`", place=place, help=help_text)
    return function  # type: ignore[no-any-return]


def _load_file(path: Path, place: object) -> Any:
    if not path.is_file():
        raise error("D001", f"no such file: `{path}`", place=place)
    spec = importlib.util.spec_from_file_location(f"pruna_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        raise error("D008", f"importing it failed: {type(failure).__name__}: {failure}", place=path) from failure
    return module


def _load_module(name: str, folder: Path, place: object) -> Any:
    # A console script, unlike `python -m`, does not look for modules in the current folder.
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as failure:
        if failure.name and (name == failure.name or name.startswith(failure.name + ".")):
            raise error("D001", f"no such file or module: `{name}`", place=place) from failure
        raise error("D008", f"importing `{name}` failed: {failure}", place=place) from failure
    except Exception as failure:
        message = f"importing `{name}` failed: {type(failure).__name__}: {failure}"
        raise error("D008", message, place=place) from failure
    finally:
        sys.path.remove(str(folder.resolve()))
