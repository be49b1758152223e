"""All fusion rules together."""

from __future__ import annotations

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
class Fuse(Pass):
    """Run all fusion rules together until none applies.

        before   x -> Conv -> BatchNormalization -> Mul(2) -> y
        after    x -> Conv -> y

    What one rule leaves another may take up. The rules are ours and those that other packages register as passes;
    each is also a pass of its own, and `--explain` shows it. Does not fire what `only` leaves out or `skip` names.
    """

    name: ClassVar[str] = "fuse"
    effect: ClassVar[Effect] = Effect.EXACT
    # Every application of a rule is a step that bisection can stop at.
    counts_steps: ClassVar[bool] = True

    only: tuple[str, ...] = option((), "rules to run; none named: all")
    skip: tuple[str, ...] = option((), "rules not to run")

    def __post_init__(self) -> None:
        known = fusion_rules()
        for name in (*self.only, *self.skip):
            if name not in known:
                raise error(
                    "P004", f"`{name}` is no fusion rule", place=self.name, help=did_you_mean(name, known, "rule")
                )

    def run(self, model: Model, context: Context) -> PassResult:
        rules = fusion_rules()
        chosen = [name for name in rules if (not self.only or name in self.only) and name not in self.skip]
        return drive([rules[name]() for name in chosen], model, context)


def fusion_rules() -> dict[str, type[Rule]]:
    """The rules that `fuse` runs, by name: ours first, then those of other packages."""
    foreign = [name for name in registry.passes() if name not in registry.PASSES]
    classes = {name: registry.pass_class(name) for name in [*registry.FUSION_RULES, *foreign]}
    return {name: cls for name, cls in classes.items() if issubclass(cls, Rule)}
