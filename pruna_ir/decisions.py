"""The decision log: choices that rest on a measurement, written down so that a run can be replayed without one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruna_ir.diagnostics import error
from pruna_ir.writing import write_text

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.manager import PassManager
    from pruna_ir.targets import Target

FORMAT = 1


@dataclass(frozen=True)
class Identity:
    """What the decisions of a log hold for: a model's fingerprint, a pipeline's canonical text, and a target.

    The target is its name and description: `ort-cpu` is another table on another processor.
    """

    model: str
    pipeline: str
    target: str

    @staticmethod
    def of(model: Model, manager: PassManager, target: Target) -> Identity:
        """The identity of a run; `model` is as it was before the passes."""
        return Identity(model.fingerprint(), manager.text, f"{target.name}: {target.description}")


@dataclass
class DecisionLog:
    """Decisions by key, in the order in which they were taken.

    While recording, `decide` measures and stores; while replaying it returns what is stored and measures nothing.
    """

    entries: dict[str, Any] = field(default_factory=dict)
    replaying: bool = False
    _asked: Counter[str] = field(default_factory=Counter)

    def decide(self, key: str, measure: Callable[[], Any]) -> Any:
        """The decision under `key`: taken now, or as it was taken. Values must survive JSON.

        A key that is asked for again, as by a pass that stands twice in a pipeline, is numbered: `key`, `key #2`, ...
        """
        self._asked[key] += 1
        if self._asked[key] > 1:
            key = f"{key} #{self._asked[key]}"
        if self.replaying:
            if key not in self.entries:
                help_text = "record a new log with --decisions: the model, pipeline or version differs from the log's"
                raise error("R001", f"the decision log has no entry `{key}`", help=help_text)
            return self.entries[key]
        # Through JSON, so that recording and replaying see the very same value.
        self.entries[key] = json.loads(json.dumps(measure()))
        return self.entries[key]

    def save(self, path: Path, identity: Identity) -> None:
        """Write the log with what it belongs to; raises C003."""
        document = {"format": FORMAT, **asdict(identity), "decisions": self.entries}
        write_text(path, json.dumps(document, indent=1) + "\n")

    @staticmethod
    def load(path: Path, identity: Identity) -> DecisionLog:
        """Read a log for replay; R001 if it is unreadable or belongs to another model, pipeline or target."""
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError) as failure:
            raise error("R001", f"cannot read the decision log: {failure}", place=path) from None
        if not isinstance(document, dict) or not isinstance(document.get("decisions"), dict):
            raise error("R001", "the file is not a decision log", place=path)
        for key, value in {"format": FORMAT, **asdict(identity)}.items():
            found = document.get(key)
            if found != value:
                raise error("R001", f"the log's {key} is `{found}`, this run's is `{value}`", place=path)
        return DecisionLog(document["decisions"], replaying=True)
