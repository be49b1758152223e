"""`--budget` and `--sweep`: what a run may cost, as options of the passes that keep to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pruna_ir.diagnostics import error
from pruna_ir.pipeline.grammar import Element, Listing, Option, parse_pipeline
from pruna_ir.pipeline.options import read_options
from pruna_ir.pipeline.pass_base import Pass


@dataclass(frozen=True)
class Flag:
    """A flag of the command line that holds options, and their text."""

    name: str
    text: str

    @property
    def source(self) -> str:
        """The flag in the pipeline language: `budget<macs=0.5;bytes=0.6>`."""
        return f"{self.name.lstrip('-')}<{self.text}>"

    def element(self) -> Element:
        """The options, parsed; raises P001."""
        return parse_pipeline(self.source, self.name)[0]


def with_budget(passes: Sequence[Pass], text: str) -> tuple[Pass, ...]:
    """The passes with a `--budget` such as `macs=0.5` or `macs=0.5;bytes=0.6`; raises P001 to P004 and C004."""
    flag = Flag("--budget", text)
    return _with_options(passes, flag, flag.element().options)


def sweep_points(passes: Sequence[Pass], text: str) -> dict[str, tuple[Pass, ...]]:
    """The passes for each value of a `--sweep` such as `macs=[0.9,0.7,0.5]`, by the budget's text."""
    flag = Flag("--sweep", text)
    options = flag.element().options
    if len(options) != 1 or not isinstance(options[0].value, Listing) or not options[0].value.items:
        raise error("C001", f"`--sweep` takes one list such as `macs=[0.9,0.7,0.5]`, not `{text}`")
    points = [replace(options[0], value=item) for item in options[0].value.items]
    return {str(point): _with_options(passes, flag, [point]) for point in points}


def _with_options(passes: Sequence[Pass], flag: Flag, options: Iterable[Option]) -> tuple[Pass, ...]:
    takers = [item for item in passes if item.budgets]
    if not takers:
        help_text = "-O3 has one that does, `prune-channels`"
        raise error("C004", f"no pass of the pipeline keeps to a budget that `{flag.name}` could give", help=help_text)
    return tuple(_limited(item, flag, tuple(options)) if item.budgets else item for item in passes)


def _limited(item: Pass, flag: Flag, options: tuple[Option, ...]) -> Pass:
    for option in options:
        if option.name not in item.budgets:
            known = ", ".join(item.budgets)
            where = f"{flag.name}:1:{option.span[0] + 1}"
            message = f"`{item.name}` has no budget `{option.name}`"
            raise error("P003", message, place=where, source=flag.source, span=option.span, help=f"known: {known}")
    given = [name for name in item.budgets if getattr(item, name.replace("-", "_")) is not None]
    if given:
        message = f"`{item.name}` has a `{given[0]}` in the pipeline already"
        raise error("C001", message, help=f"leave it out there, or leave `{flag.name}` out")
    return replace(item, **read_options(type(item), Element(item.name, options), flag.source, flag.name))
