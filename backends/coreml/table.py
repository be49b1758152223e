"""The table from ONNX operators to the functions that write them, which the files of `ops/` fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruna_ir.backends.coreml.op import Op

Lower = Callable[["Op"], None]


@dataclass(frozen=True)
class Entry:
    """How one operator is written. `any_rank`: also where tensors have more axes than Core ML's."""

    lower: Lower
    any_rank: bool = False


_TABLE: dict[str, Entry] = {}


def lowers(*ops: str, any_rank: bool = False) -> Callable[[Lower], Lower]:
    """Declare a function as what writes these operators of ONNX."""

    def declare(function: Lower) -> Lower:
        for op in ops:
            assert op not in _TABLE, f"{op} is written by two functions"
            _TABLE[op] = Entry(function, any_rank)
        return function

    return declare


def table() -> dict[str, Entry]:
    """The whole table."""
    import pruna_ir.backends.coreml.ops  # noqa: F401 (its files fill the table)

    return _TABLE
