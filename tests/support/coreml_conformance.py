"""Cases of ONNX's backend suite, written as packages, read back and evaluated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from backend_cases import Case
from emitted_cases import Outcome
from emitted_cases import judge as judge_written

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.session import EvaluatorSession
from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.model import Model
from pruna_ir.runtime.runner import Runner

coremltools()  # once, and not in every process


def judge(case: Case) -> Outcome:
    """Write a case with 32-bit floats, and evaluate it."""
    return judge_written(case, opened)


def opened(case: Case) -> Mapping[str, Callable[[], Runner]]:
    """What runs the package of a case."""
    session = written(case)
    return {"the evaluator": lambda: session}


def written(case: Case) -> EvaluatorSession:
    """The package that the back end makes of a case, read back."""
    backend = CoremlBackend(compute="fp32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.mlpackage"
        backend.emit(backend.legalize(Model.load(case.model)), path)
        return EvaluatorSession(path)
