"""A folder that makes a failure happen again: the model before the failing pass, that pass alone, and the command."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.base import Instrument
from pruna_ir.model.save import write
from pruna_ir.pipeline.context import Steps

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.pass_base import Pass

MODEL, SCRIPT, DETAILS, DIAGNOSTIC = "model.onnx", "reproduce.sh", "details.json", "diagnostic.txt"
_PACKAGES = ("pruna-ir", "onnx", "onnxruntime", "onnx-graphsurgeon", "onnxsim", "numpy")


class Reproducer(Instrument):
    """Writes `folder` when a pass fails, or an instrument after it: `reproduce.sh` in it fails the same way.

    `command` are the further arguments of `pruna-opt` that matter to a pass (`--data`, `--target`, `--verify-each`),
    with absolute paths: the script adds the model and the pipeline. `written` is the folder once it has been written,
    `problem` says why it could not be; neither hides the failure itself.

    Nothing is kept while all goes well: copying the model before every pass would cost more than most passes. The
    passes before the failing one run again instead, from the original model and with their decisions replayed.
    """

    def __init__(self, folder: str | Path, command: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self.command = tuple(command)
        self.written: Path | None = None
        self.problem = ""
        self._context: Context | None = None
        self._original: Model | None = None
        self._ran: list[Pass] = []

    def start(self, model: Model, context: Context) -> None:
        self._context, self._original, self._ran = context, context.reference, []

    def before(self, item: Pass, index: int, model: Model, context: Context) -> None:
        self._ran.append(item)

    def failed(self, item: Pass, index: int, failure: Exception) -> None:
        if self._context is None or self._original is None:
            return
        try:
            model, passes = _cut(self._ran, self._original, self._context)
            self._write(model, passes, failure)
        except (PrunaError, OSError) as problem:
            self.problem = problem.diagnostic.message if isinstance(problem, PrunaError) else str(problem)
        else:
            self.written = self.folder

    def _write(self, model: Model, passes: Sequence[Pass], failure: Exception) -> None:
        from pruna_ir.pipeline.build import to_text

        pipeline = to_text(passes)
        command = shlex.join(["pruna-opt", MODEL, f"-passes={pipeline}", *self.command])
        self.folder.mkdir(parents=True, exist_ok=True)
        # With its types, unlike a saved model: those that ONNX cannot infer must be there for the failing pass.
        write(model.to_proto(), self.folder / MODEL)
        script = self.folder / SCRIPT
        script.write_text(f'#!/bin/sh\ncd "$(dirname "$0")" && exec {command}\n')
        script.chmod(0o755)
        details = {
            "command": command,
            "pipeline": pipeline,
            "full_pipeline": to_text(self._ran),
            "versions": versions(),
        }
        (self.folder / DETAILS).write_text(json.dumps(details, indent=1) + "\n")
        message = str(failure) if isinstance(failure, PrunaError) else f"{type(failure).__name__}: {failure}"
        (self.folder / DIAGNOSTIC).write_text(message + "\n")


def _cut(ran: Sequence[Pass], original: Model, context: Context) -> tuple[Model, Sequence[Pass]]:
    """The model before the last of the passes and that pass; the original and all passes if they fail this time."""
    from pruna_ir.pipeline.manager import PassManager

    model = original.clone()
    try:
        PassManager(ran[:-1]).run(
            model,
            data=context.data,
            target=context.target,
            decisions=DecisionLog(context.decisions.entries, replaying=True),
            steps=Steps(context.steps.limit),
            max_drop=context.max_drop,
            goal=context.goal,
            statistics=context.statistics,
        )
    except PrunaError:
        return original, ran
    return model, ran[-1:]


def versions() -> dict[str, str]:
    """Versions of what may matter to a failure; packages that are not installed are left out."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
