"""The decision log: choices that rest on a measurement, written down so that a run can be replayed without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruna_ir.diagnostics import error

FORMAT = 1


@dataclass
class DecisionLog:
    """Decisions by key, in the order in which they were taken.

    While recording, `decide` measures and stores; while replaying it returns what is stored and measures nothing.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    replaying: bool = False

    def decide(self, key: str, measure: Callable[[], Any]) -> Any:
        """The decision under `key`: taken now, or as it was taken. Values must survive JSON."""
        if self.replaying:
            if key not in self.entries:
                help_text = "record a new log with --decisions: the model, pipeline or version differs from the log's"
                raise error("R001", f"the decision log has no entry `{key}`", help=help_text)
            return self.entries[key]
        if key in self.entries:
            raise AssertionError(f"decided twice: {key}")
        # Through JSON, so that recording and replaying see the very same value.
        self.entries[key] = json.loads(json.dumps(measure()))
        return self.entries[key]

    def save(self, path: Path, model: str, pipeline: str) -> None:
        """Write the log with the fingerprint of the model and the pipeline's text that it belongs to."""
        document = {"format": FORMAT, "model": model, "pipeline": pipeline, "decisions": self.entries}
        try:
            path.write_text(json.dumps(document, indent=1) + "\n")
        except OSError as failure:
            raise error("C003", f"cannot write the decision log: {failure.strerror}", place=path) from None

    @staticmethod
    def load(path: Path, model: str, pipeline: str) -> DecisionLog:
        """Read a log for replay; R001 if it is unreadable or belongs to another model or pipeline."""
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError) as failure:
            raise error("R001", f"cannot read the decision log: {failure}", place=path) from None
        if not isinstance(document, dict) or not isinstance(document.get("decisions"), dict):
            raise error("R001", "the file is not a decision log", place=path)
        expected = {"format": FORMAT, "model": model, "pipeline": pipeline}
        for key, value in expected.items():
            found = document.get(key)
            if found != value:
                raise error("R001", f"the log's {key} is `{found}`, this run's is `{value}`", place=path)
        return DecisionLog(document["decisions"], replaying=True)
