"""What a pipeline run gives to its passes: the target, the data, the reference model, and the logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError, error

if TYPE_CHECKING:
    from pruna_ir.analysis.quantized import Quantization
    from pruna_ir.calibration import Statistics
    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model
    from pruna_ir.pipeline.pass_base import Pass
    from pruna_ir.pipeline.rules import RuleStats
    from pruna_ir.targets import Target

Progress = Callable[[str, int, int], None]


def silent(task: str, done: int, total: int) -> None:
    """A progress callback that shows nothing. `total` is 0 when it is not known."""


@dataclass
class Steps:
    """Counts the single transformations of a run, so that bisection can stop after any of them.

    A pass that is no rule is one step, and so is every application of a rule. `limit` None means all of them.
    """

    limit: int | None = None
    taken: list[str] = field(default_factory=list)

    def take(self, what: str) -> bool:
        """Whether the next step may be taken; it is named and counted if so."""
        if self.limit is not None and len(self.taken) >= self.limit:
            return False
        self.taken.append(what)
        return True


@dataclass
class Context:
    """Everything a pass may read beside the model.

    `reference` is what approximate passes are judged against: the model as it was before the pipeline, until a pass
    that takes the accuracy it was told to take puts its own result there (`judge_from`). `decisions` keeps what rests
    on a measurement, so that a run can be replayed. `statistics` were collected in an earlier run, `collected` are
    those of this one, and `calibrated` those of this data that were collected for another target: what is missing among
    them is collected. `settled` are the exact passes that changed nothing since the model last changed. `quantization`
    is the float model before anything was rounded. `manifest` says what structural passes kept. `seed` feeds every
    random choice.
    """

    reference: Model
    target: Target
    data: BoundDataset | None = None
    decisions: DecisionLog = field(default_factory=DecisionLog)
    steps: Steps = field(default_factory=Steps)
    rule_stats: list[dict[str, RuleStats]] = field(default_factory=list)
    progress: Progress = silent
    statistics: Statistics | None = None
    collected: Statistics | None = None
    calibrated: Statistics | None = None
    settled: set[Pass] = field(default_factory=set)
    quantization: Quantization | None = None
    manifest: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0
    max_drop: float = 0.01
    goal: str = "speed"

    def before_rounding(self, model: Model) -> None:
        """Keep `model` as the float one, unless a pass before did: called by passes that round, before they do."""
        from pruna_ir.analysis.quantized import Quantization

        if self.quantization is None:
            self.quantization = Quantization(model.clone())

    def judge_from(self, model: Model) -> None:
        """What later passes lose counts from `model` on: a budget was asked for, and its price is not their fault."""
        self.reference = model.clone()

    def require_data(self, who: str) -> BoundDataset:
        """The dataset, or P006 if there is none."""
        if self.data is None:
            raise data_missing(who)
        return self.data


def data_missing(who: str) -> PrunaError:
    """The P006 diagnostic for a pass that has no data."""
    help_text = "give a dataset with --data (a .yaml, .npz, .npy, a folder of images or module:function)"
    return error("P006", f"`{who}` needs calibration data", help=help_text)
