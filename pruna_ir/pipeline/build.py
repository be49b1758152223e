"""From pipeline text to pass objects, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError, did_you_mean, error
from pruna_ir.pipeline.grammar import PLACE, Element, Option, parse_pipeline, print_pipeline
from pruna_ir.pipeline.options import read_options
from pruna_ir.pipeline.pass_base import Pass, order_problem

REPEAT = "repeat"
MAX_REPEATS = 16
# Nested repetitions multiply.
MAX_PASSES = 1000


def build(text: str, place: str = PLACE) -> tuple[Pass, ...]:
    """The passes that pipeline text names, in order; raises P001 to P005 with the place.

    Named pipelines expand where they stand. `repeat<times=N>(...)` writes its body out N times.
    """
    flat = _flatten(parse_pipeline(text, place), text, place)
    passes = tuple(_make(element, text, place) for element in flat)
    check_order(passes, flat, text, place)
    return passes


def to_text(passes: Sequence[Pass]) -> str:
    """The canonical text of a pipeline: `to_text(build(text))` is a fixed point."""
    return print_pipeline(tuple(item.element() for item in passes))


def _flatten(elements: Sequence[Element], text: str, place: str) -> list[Element]:
    flat: list[Element] = []
    for element in elements:
        flat += _expand(element, text, place)
        if len(flat) > MAX_PASSES:
            raise _misuse("P004", f"the pipeline has more than {MAX_PASSES:,} passes", element, text, place)
    return flat


def _expand(element: Element, text: str, place: str) -> list[Element]:
    if element.name in registry.PIPELINES:
        if element.options or element.body is not None:
            raise _misuse("P003", f"the pipeline `{element.name}` has no options and no body", element, text, place)
        expansion = _flatten(parse_pipeline(registry.PIPELINES[element.name]), text, place)
        return [_moved(inner, element.span) for inner in expansion]
    if element.name == REPEAT:
        return _flatten(element.body or (), text, place) * _repeats(element, text, place)
    if element.body is not None:
        raise _misuse("P001", f"`{element.name}` is a pass, not a group: it takes no body", element, text, place)
    return [element]


def _moved(element: Element, span: tuple[int, int]) -> Element:
    """An element of an expansion, so that an error in it points at the name that stands for it."""
    options = tuple(
        Option(option.name, option.value and replace(option.value, span=span), span) for option in element.options
    )
    return Element(element.name, options, element.body, span)


def _repeats(element: Element, text: str, place: str) -> int:
    times = [str(option.value) for option in element.options if option.name == "times"]
    if element.body is None or len(element.options) != 1 or len(times) != 1:
        raise _misuse("P004", "a repetition is written `repeat<times=2>(a,b)`", element, text, place)
    if times[0] not in map(str, range(1, MAX_REPEATS + 1)):
        raise _misuse("P004", f"`times` must lie between 1 and {MAX_REPEATS}", element, text, place)
    return int(times[0])


def _make(element: Element, text: str, place: str) -> Pass:
    known = registry.passes()
    if element.name not in known:
        help_text = did_you_mean(element.name, [*known, *registry.PIPELINES], "pass")
        notes = [f"`pruna-opt --list-passes` shows all {len(known)}"]
        raise _misuse("P002", f"unknown pass `{element.name}`", element, text, place, help_text, notes)
    cls = registry.pass_class(element.name)
    return cls(**read_options(cls, element, text, place))


def check_order(passes: Sequence[Pass], elements: Sequence[Element], text: str, place: str) -> None:
    """Raise P005 if a pass stands on the wrong side of another."""
    names = [item.name for item in passes]
    problem = order_problem(names, {item.name: type(item) for item in passes})
    if problem:
        index, message = problem
        raise _misuse("P005", message, elements[index], text, place, "change the order of the two passes")


def _misuse(
    code: str, message: str, element: Element, text: str, place: str, help: str = "", notes: Sequence[str] = ()
) -> PrunaError:
    where = f"{place}:1:{element.span[0] + 1}"
    return error(code, message, place=where, source=text, span=element.span, help=help, notes=notes)
