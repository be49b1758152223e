"""All recognition rules together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pruna_ir import registry
from pruna_ir.pipeline.rule_group import RuleGroup


@dataclass(frozen=True)
class Recognize(RuleGroup):
    """Find the operators that an exporter has written as several simpler ones, until there are no more.

        before   x -> Mul(0.7071) -> Erf -> Add(1) -> Mul(x) -> Mul(0.5) -> y
        after    x -> Gelu -> y

    Runs before `fuse`, which would join parts of an idiom with what stands around it. Each rule is also a pass of its
    own, and `--explain` shows it. Does not fire what `only` leaves out or `skip` names, where the model's opset lacks
    the operator (`--opset` raises it), or where the target is slow at it.
    """

    name: ClassVar[str] = "recognize"
    before: ClassVar[tuple[str, ...]] = ("quantize",)

    @classmethod
    def members(cls) -> Iterable[str]:
        """Our recognition rules."""
        return registry.RECOGNITION_RULES
