"""The table from ONNX operators to the functions that write them, which the files of `ops/` fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruna_ir.backends.coreml.op import Op

Lower = Callable[["Op"], None]

_TABLE: dict[str, Lower] = {}


def lowers(*ops: str) -> Callable[[Lower], Lower]:
    """Declare a function as what writes these operators of ONNX."""

    def declare(function: Lower) -> Lower:
        for op in ops:
            assert op not in _TABLE, f"{op} is written by two functions"
            _TABLE[op] = function
        return function

    return declare


def table() -> dict[str, Lower]:
    """The whole table."""
    import pruna_ir.backends.coreml.ops  # noqa: F401 (its files fill the table)

    return _TABLE
