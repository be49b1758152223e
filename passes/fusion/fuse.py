"""All fusion rules together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pruna_ir import registry
from pruna_ir.pipeline.rule_group import RuleGroup


@dataclass(frozen=True)
class Fuse(RuleGroup):
    """Run all fusion rules together until none applies.

        before   x -> Conv -> BatchNormalization -> Mul(2) -> y
        after    x -> Conv -> y

    What one rule leaves another may take up. The rules are ours and those that other packages register as passes;
    each is also a pass of its own, and `--explain` shows it. Does not fire what `only` leaves out or `skip` names.
    """

    name: ClassVar[str] = "fuse"

    @classmethod
    def members(cls) -> Iterable[str]:
        """Our fusion rules, then the passes of other packages."""
        return [*registry.FUSION_RULES, *(name for name in registry.passes() if name not in registry.PASSES)]
