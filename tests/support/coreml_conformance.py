"""Cases of ONNX's backend suite, written as packages, read back and evaluated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from backend_cases import Case
from emitted_cases import Outcome
from emitted_cases import judge as judge_written

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.session import EvaluatorSession
from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.model import Model
from pruna_ir.runtime.runner import Runner

# Two units in the last place of half precision. The suite allows one, and rounds once, at the end of an operator, where
# a package rounds what each of its own operators writes.
HALF_TOLERANCE = 2**-9

coremltools()  # once, and not in every process


def judge(case: Case) -> Outcome:
    """Write a case with 32-bit floats, and evaluate it; what a model has in 16 bits it computes in them."""
    halves = any(
        value.dtype == np.float16 for _, outputs in case.samples for value in outputs if isinstance(value, np.ndarray)
    )
    return judge_written(replace(case, rtol=max(case.rtol, HALF_TOLERANCE)) if halves else case, opened)


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
