"""The table from MIL operators to the functions that compute them, which the files of `ops/` fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Compute = Callable[..., Any]


@dataclass(frozen=True)
class Entry:
    """The function of an operator, which takes the operator's inputs by their names, and those names.

    A function that takes `version` is told the specification version of the package: the meaning of few operators
    changed between versions.
    """

    compute: Compute
    inputs: frozenset[str]


_TABLE: dict[str, Entry] = {}


def computes(*ops: str) -> Callable[[Compute], Compute]:
    """Declare a function as what computes these operators."""

    def declare(function: Compute) -> Compute:
        register(function, *ops)
        return function

    return declare


def register(function: Compute, *ops: str) -> None:
    """Enter a function for these operators."""
    for op in ops:
        assert op not in _TABLE, f"{op} is computed by two functions"
        _TABLE[op] = Entry(function, frozenset(inspect.signature(function).parameters))


def table() -> dict[str, Entry]:
    """The whole table."""
    import pruna_ir.backends.coreml.evaluate.ops  # noqa: F401 (its files fill the table)

    return _TABLE
