"""Instruments: what watches a pipeline run. Passes never print, time or verify; instruments do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass


class Instrument:
    """Hooks around every pass; a subclass overrides those that it needs.

    `index` counts the passes of the pipeline from 0.
    """

    def start(self, model: Model, context: Context) -> None:
        """The run begins; `model` is what the first pass will get."""

    def should_run(self, item: Pass, index: int) -> bool:
        """Whether the pass runs: the answers of all instruments must agree to it."""
        return True

    def before(self, item: Pass, index: int, model: Model, context: Context) -> None:
        """The pass is about to run."""

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        """The pass has run; `stage` says what it did and may be added to."""

    def failed(self, item: Pass, index: int, failure: Exception) -> None:
        """The pass has raised; the model is in an unknown state."""

    def finish(self, model: Model, context: Context) -> None:
        """The run has ended well."""
