"""The options of passes: typed dataclass fields, read from pipeline text and printed back to it."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pruna_ir.diagnostics import did_you_mean, error
from pruna_ir.pipeline.grammar import Element, Listing, Option, Scalar, Value

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field for a pass option: what it does, and the closed range that numbers must lie in."""
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclasses.dataclass(frozen=True)
class OptionInfo:
    """What `--explain` and the diagnostics say about an option."""

    name: str
    type: Any
    default: Any
    help: str
    low: float | None
    high: float | None

    @property
    def type_text(self) -> str:
        """The type in the words of the pipeline language."""
        return _describe(self.type)

    @property
    def default_text(self) -> str:
        """The default as pipeline text."""
        return str(_to_value(self.default))


@functools.cache
def options_of(cls: type) -> Mapping[str, OptionInfo]:
    """The options of a dataclass, by their names in pipeline text (kebab-case)."""
    hints = typing.get_type_hints(cls)
    found = {}
    for item in dataclasses.fields(cls):
        if "help" not in item.metadata:
            continue
        name = item.name.replace("_", "-")
        meta = item.metadata
        found[name] = OptionInfo(name, hints[item.name], item.default, meta["help"], meta["low"], meta["high"])
    return found


def read_options(cls: type, element: Element, text: str, place: str) -> dict[str, Any]:
    """The keyword arguments for `cls` that an element's options say; raises P003 or P004 with the place."""
    known = options_of(cls)
    arguments: dict[str, Any] = {}
    for given in element.options:
        info = known.get(given.name.replace("_", "-"))
        if info is None:
            message = f"`{element.name}` has no option `{given.name}`" if known else f"`{element.name}` has no options"
            where = f"{place}:1:{given.span[0] + 1}"
            help_text = did_you_mean(given.name, known, "option")
            raise error("P003", message, place=where, source=text, span=given.span, help=help_text)
        field = info.name.replace("-", "_")
        if field in arguments:
            where = f"{place}:1:{given.span[0] + 1}"
            raise error("P004", f"`{info.name}` is given twice", place=where, source=text, span=given.span)
        try:
            arguments[field] = _convert_option(info, given)
        except ValueError as failure:
            span = given.value.span if given.value else given.span
            where = f"{place}:1:{span[0] + 1}"
            raise error(
                "P004", f"`{info.name}` {failure}", place=where, source=text, span=span, help=info.help
            ) from None
    return arguments


def _convert_option(info: OptionInfo, given: Option) -> Any:
    if given.value is None:
        if info.type is not bool:
            raise ValueError(f"needs a value: {info.type_text}")
        return True
    value = _convert(info.type, given.value)
    for number in value if isinstance(value, tuple) else [value]:
        if isinstance(number, int | float) and not isinstance(number, bool):
            if math.isnan(number):
                raise ValueError("must be a number, not nan")
            too_low, too_high = info.low is not None and number < info.low, info.high is not None and number > info.high
            if too_low or too_high:
                raise ValueError(f"must lie {_bounds(info)}, not at {number}")
    return value


def _bounds(info: OptionInfo) -> str:
    if info.low is None:
        return f"at or below {info.high}"
    return f"at or above {info.low}" if info.high is None else f"between {info.low} and {info.high}"


def _convert(wanted: Any, value: Value) -> Any:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if isinstance(value, Scalar) and value.text == "none":
            return None
        return _convert(next(part for part in inner if part is not type(None)), value)
    if origin is tuple:
        items: Sequence[Value] = value.items if isinstance(value, Listing) else (value,)
        return tuple(_convert(inner[0], item) for item in items)
    if isinstance(value, Listing):
        raise ValueError(f"takes {_describe(wanted)}, not a list")
    if origin is Literal:
        if value.text in inner:
            return value.text
        raise ValueError(f"is one of {', '.join(inner)}, not `{value.text}`")
    if wanted is bool:
        if value.text.lower() in (*_TRUE, *_FALSE):
            return value.text.lower() in _TRUE
        raise ValueError(f"is true or false, not `{value.text}`")
    if wanted is str:
        return value.text
    try:
        return wanted(value.text)
    except ValueError:
        raise ValueError(f"takes {_describe(wanted)}, not `{value.text}`") from None


def _describe(wanted: Any) -> str:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in inner)
    if origin is tuple:
        return f"a list [{_describe(inner[0])},...]"
    if origin is Literal:
        return " | ".join(inner)
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return names.get(wanted, str(wanted))


def print_options(instance: Any) -> Iterator[Option]:
    """The options that differ from their defaults, in the order of the fields."""
    cls: type = type(instance)
    for name, info in options_of(cls).items():
        value = getattr(instance, name.replace("-", "_"))
        if value != info.default:
            yield Option(name, _to_value(value))


def _to_value(value: Any) -> Value:
    if isinstance(value, tuple):
        return Listing(tuple(_to_value(item) for item in value))
    if value is None:
        return Scalar("none")
    if isinstance(value, bool):
        return Scalar(str(value).lower())
    return Scalar(repr(value) if isinstance(value, float) else str(value))
