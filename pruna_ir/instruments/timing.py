"""Where the time of a run goes: seconds per pass and per rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruna_ir.instruments.base import Instrument

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass


@dataclass(frozen=True)
class PassTime:
    """One pass of a run: its text, the seconds that it took, whether it changed the model, and the node counts."""

    text: str
    seconds: float
    changed: bool
    nodes_before: int
    nodes_after: int


@dataclass(frozen=True)
class RuleTime:
    """One rule within one pass: how often it was tried and fired, and the seconds that it took in all."""

    pass_text: str
    rule: str
    tried: int
    fired: int
    seconds: float


class Timing(Instrument):
    """Collects `passes` and `rules`, in the order in which they ran. Nodes of sub-graphs are not counted."""

    def __init__(self) -> None:
        self.passes: list[PassTime] = []
        self.rules: list[RuleTime] = []
        self._nodes_before = 0
        self._drives_before = 0

    @property
    def seconds(self) -> float:
        """Seconds of all passes together, without what instruments took."""
        return sum(row.seconds for row in self.passes)

    def before(self, item: Pass, index: int, model: Model, context: Context) -> None:
        self._nodes_before = len(model.graph.nodes)
        self._drives_before = len(context.rule_stats)

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        nodes = len(model.graph.nodes)
        self.passes.append(PassTime(stage.text, stage.seconds, stage.changed, self._nodes_before, nodes))
        for drive in context.rule_stats[self._drives_before :]:
            for rule, stats in drive.items():
                self.rules.append(RuleTime(stage.text, rule, stats.tried, stats.fired, stats.seconds))
