"""What a pass is: one transformation of a Model, with typed options and declared needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pruna_ir.pipeline.grammar import Element
from pruna_ir.pipeline.options import print_options
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


class Effect(StrEnum):
    """What a pass may do to the numbers."""

    EXACT = "exact"  # the same numbers, up to the rounding of a different order of operations
    APPROXIMATE = "approximate"  # other numbers, kept close by calibration
    STRUCTURAL = "structural"  # other shapes


class Need(StrEnum):
    """What a pass cannot run without."""

    DATA = "data"
    LABELS = "labels"
    TORCH = "torch"


@dataclass
class PassResult:
    """What a pass did: whether the model changed, how often it did what, and why or why not."""

    changed: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def count(self, what: str, times: int = 1) -> None:
        """Add to a counter; counting anything means that the model changed."""
        self.counts[what] = self.counts.get(what, 0) + times
        self.changed = True


@dataclass(frozen=True)
class Pass(ABC):
    """Base of all passes; a subclass is a frozen dataclass whose fields (made with `option`) are its options.

    `name` is kebab-case and equals the file's and the class's name. `after` and `before` name passes that must not
    stand on the other side of this one in a pipeline; the manager checks that when it is built. `budgets` are options
    that `--budget` sets where the pipeline does not.
    """

    name: ClassVar[str]
    effect: ClassVar[Effect]
    needs: ClassVar[frozenset[Need]] = frozenset()
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    budgets: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def run(self, model: Model, context: Context) -> PassResult:
        """Change `model` in place and say what was done."""

    def needed(self) -> frozenset[Need]:
        """What the pass cannot run without, with these options; raises P004 or P006 where they do not fit together.

        Asked before any work.
        """
        return self.needs

    def preview(self) -> Pass | None:
        """A pass that changes nothing, and whose remarks say what this one would do: what `--dry-run` prints."""
        return None

    def remark(self, kind: RemarkKind, node: str, template: str, *values: object) -> Remark:
        """A remark of this pass; the text is formatted only when read."""
        return Remark(kind, self.name, node, Reason(template, *values))

    def element(self) -> Element:
        """The pass in the pipeline language, with the options that differ from their defaults."""
        return Element(self.name, tuple(print_options(self)))

    def __str__(self) -> str:
        return str(self.element())


def summary(cls: type[Pass]) -> str:
    """The first sentence of a pass's documentation."""
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")


def order_problem(names: list[str], classes: Mapping[str, type[Pass]]) -> tuple[int, str] | None:
    """The first pass that stands on the wrong side of another one: its index, and what is wrong."""
    for late, name in enumerate(names):
        for early in range(late):
            other = names[early]
            if other in classes[name].before:
                return late, f"`{name}` must run before `{other}`"
            if name in classes[other].after:
                return early, f"`{other}` must run after `{name}`"
    return None
