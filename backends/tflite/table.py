"""The table from ONNX operators to the functions that write them, which the files of `ops/` fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruna_ir.backends.tflite.layout_rules import RIGID, LayoutRule
from pruna_ir.backends.unsupported import Unsupported as Unsupported

if TYPE_CHECKING:
    from pruna_ir.backends.tflite.op import Op

Lower = Callable[["Op"], None]


@dataclass(frozen=True)
class Entry:
    """How one operator is written, and in which layouts. `activates` says that it can end in a Relu or Clip."""

    lower: Lower
    layout: LayoutRule
    activates: bool = False


_TABLE: dict[str, Entry] = {}


def lowers(*ops: str, layout: LayoutRule = RIGID, activates: bool = False) -> Callable[[Lower], Lower]:
    """Declare a function as what writes these operators of ONNX."""

    def declare(function: Lower) -> Lower:
        for op in ops:
            assert op not in _TABLE, f"{op} is written by two functions"
            _TABLE[op] = Entry(function, layout, activates)
        return function

    return declare


def table() -> dict[str, Entry]:
    """The whole table."""
    import pruna_ir.backends.tflite.ops  # noqa: F401 (its files fill the table)

    return _TABLE
