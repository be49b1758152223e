"""How far each pass moves the outputs away from those of the model that the user brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.instruments.base import Instrument

if TYPE_CHECKING:
    from pruna_ir.analysis.accuracy import Evaluator
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass


class Drift(Instrument):
    """Writes `sqnr_db` and `max_error` into the stage of every pass that changed the model, and `metric` if asked.

    All are measured against the model before the pipeline, on the calibration and train splits (never `test`), so the
    figures add up over the passes. `reason` says why nothing was measured; it is empty otherwise.
    """

    def __init__(self, metric: bool = False) -> None:
        self.metric = metric
        self.reason = ""
        self._evaluator: Evaluator | None = None

    @property
    def metric_name(self) -> str | None:
        """The name of the score in `Stage.metric`, or None if none is measured."""
        return self._evaluator.metric_name if self.metric and self._evaluator is not None else None

    @property
    def reference_score(self) -> float | None:
        """The score of the model before the pipeline, or None if none is measured."""
        return self._evaluator.reference_score if self.metric and self._evaluator is not None else None

    def start(self, model: Model, context: Context) -> None:
        from pruna_ir.analysis.accuracy import Evaluator

        self.reason, self._evaluator = "", None
        if context.data is None:
            self.reason = "no data was given"
        elif context.data.calibration is None and context.data.train is None:
            self.reason = "the data has neither a calibration nor a train split"
        else:
            self._evaluator = Evaluator(context.data, context.reference)

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        if self._evaluator is None or not stage.changed:
            return
        try:
            stage.sqnr_db, stage.max_error = self._evaluator.compare(model)
            if self.metric:
                stage.metric = self._evaluator.score(model)
        except PrunaError as failure:
            if self._reference_fails():
                return
            message = f"after `{item.name}` the model does not run: {failure.diagnostic.message}"
            raise error("P008", message, place=str(item), notes=failure.diagnostic.notes) from failure

    def _reference_fails(self) -> bool:
        """Whether it is the model before the pipeline that does not run; then no pass is to blame, or measured."""
        assert self._evaluator is not None
        try:
            self._evaluator.compare(self._evaluator.reference)
        except PrunaError as failure:
            self.reason = f"the original model does not run on the data: {failure.diagnostic.message}"
            self._evaluator = None
            return True
        return False
