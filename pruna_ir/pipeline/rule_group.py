"""A pass that runs many rules together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pruna_ir import registry
from pruna_ir.diagnostics import did_you_mean, error
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rules import Rule, drive

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context


@dataclass(frozen=True)
class RuleGroup(Pass):
    """Base of passes that run registered rules together to a fixed point: what one leaves another may take up."""

    effect: ClassVar[Effect] = Effect.EXACT
    # Every application of a rule is a step that bisection can stop at.
    counts_steps: ClassVar[bool] = True

    only: tuple[str, ...] = option((), "rules to run; none named: all")
    skip: tuple[str, ...] = option((), "rules not to run")

    def __post_init__(self) -> None:
        known = self.rules()
        for name in (*self.only, *self.skip):
            if name not in known:
                help_text = did_you_mean(name, known, "rule")
                raise error("P004", f"`{name}` is no rule of `{self.name}`", place=self.name, help=help_text)

    @classmethod
    @abstractmethod
    def members(cls) -> Iterable[str]:
        """The names of registered passes, those of the group among them, in the order in which rules are tried."""

    @classmethod
    def rules(cls) -> dict[str, type[Rule]]:
        """The rules of the group, by name."""
        classes = {name: registry.pass_class(name) for name in cls.members()}
        return {name: found for name, found in classes.items() if issubclass(found, Rule)}

    def run(self, model: Model, context: Context) -> PassResult:
        rules = self.rules()
        chosen = [name for name in rules if (not self.only or name in self.only) and name not in self.skip]
        return drive([rules[name]() for name in chosen], model, context)
