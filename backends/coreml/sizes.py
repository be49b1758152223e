"""The sizes that a package allows where the model leaves them open: any of a range, or those of a list."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import error

# Core ML's limit on the shapes of a list.
MOST_SHAPES = 128
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_LIST = re.compile(r"\d+(\|\d+)+")
_HELP = "write shapes=[n:1..8] for a range, shapes=[h:224|256] for a list; n is the model's name for the size"


@dataclass(frozen=True)
class Sizes:
    """The numbers that a dimension may be; `choices` is empty for a range."""

    low: int
    high: int
    choices: tuple[int, ...] = ()


def read_sizes(texts: Sequence[str], place: str) -> dict[str, Sizes]:
    """Sizes by the name of the dimension, of texts such as `n:1..8` and `h:224|256`; raises P004."""
    found: dict[str, Sizes] = {}
    for text in texts:
        name, _, values = text.rpartition(":")
        interval, listed = _RANGE.fullmatch(values), _LIST.fullmatch(values)
        if not name or (interval is None and listed is None):
            raise error("P004", f"`{text}` names no sizes", place=place, help=_HELP)
        numbers = [int(number) for number in re.findall(r"\d+", values)]
        if min(numbers) < 1 or (interval is not None and numbers[0] >= numbers[1]):
            raise error("P004", f"`{values}` are no sizes: they are positive, the smaller first", place=place)
        found[name] = Sizes(min(numbers), max(numbers), () if interval else tuple(numbers))
    kinds = {bool(sizes.choices) for sizes in found.values()}
    if len(kinds) > 1:
        raise error("P004", "Core ML takes ranges or lists, not both in one package", place=place)
    return found


def symbolic(tensor: gs.Tensor) -> list[Any]:
    """The shape of an input in MIL: numbers, and one symbol for all dimensions of a name."""
    return [_symbol(size) if isinstance(size, str) else int(size) for size in tensor.shape]


def _symbol(name: str) -> Any:
    """The symbol of a dimension: Core ML Tools know one of each name, as long as they are loaded."""
    from coremltools.converters.mil.mil import Symbol
    from coremltools.converters.mil.mil.program import get_existing_symbol

    try:
        return get_existing_symbol(f"size_{name}")
    except ValueError:
        return Symbol(f"size_{name}")


def allowed(shape: Sequence[int | str | None], sizes: Mapping[str, Sizes], place: str) -> Any:
    """The shapes that Core ML Tools are told of an input; itself if all of it is numbers."""
    from coremltools import EnumeratedShapes, RangeDim, Shape

    names = list(dict.fromkeys(size for size in shape if isinstance(size, str)))
    if not names:
        return tuple(shape)
    if not sizes[names[0]].choices:
        return Shape([_range(RangeDim, size, sizes) if isinstance(size, str) else size for size in shape])
    choices = list(itertools.product(*(sizes[name].choices for name in names)))
    if len(choices) > MOST_SHAPES:
        message = f"the lists make {len(choices)} shapes of `{place}`, and Core ML allows {MOST_SHAPES}"
        raise error("P004", message, place=place)
    chosen = [dict(zip(names, choice, strict=True)) for choice in choices]
    return EnumeratedShapes([[one[size] if isinstance(size, str) else size for size in shape] for one in chosen])


def _range(kind: Any, name: str, sizes: Mapping[str, Sizes]) -> Any:
    return kind(lower_bound=sizes[name].low, upper_bound=sizes[name].high)
