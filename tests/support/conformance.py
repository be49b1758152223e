"""What becomes of a case of ONNX's backend suite: loaded, optimized, saved, and run on ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from backend_cases import Case

from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.verify import VerifyEach
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

# Two units in the last place, as the suite's own runner allows.
_BFLOAT16_TOLERANCE = 2**-6
# Largest difference from ONNX Runtime's outputs for the original model, relative to their range. Rounding to 10 or 7
# bits shows the order of operations: there the tolerance of the case itself counts.
EXACT = 1e-5
_COARSE = ("float16", "bfloat16")
# Cases of which ONNX Runtime notices only in some forms that they are not valid.
INVALID = dict.fromkeys(
    ("test_affine_grid_2d_expanded", "test_affine_grid_2d_align_corners_expanded"),
    "`Range` reads vectors where ONNX asks for scalars, which is seen once the If before it is decided",
)


class Status(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    REFUSED = "refused"  # with a diagnostic about the model
    WRONG = "wrong"
    CRASHED = "crashed"
    UNCOUNTED = "uncounted"  # ONNX Runtime itself does not pass it


@dataclass(frozen=True)
class Outcome:
    """How a case ended, why if it did not pass, and whether the passes changed anything if it did."""

    status: Status
    why: str = ""
    code: str = ""
    changed: bool = False


def judge(case: Case, manager: PassManager) -> Outcome:
    """Run a case through a pipeline, every pass verified."""
    if case.name in INVALID:
        return Outcome(Status.UNCOUNTED, INVALID[case.name])
    try:
        plain = [_run(case.model, case, optimize) for optimize in (False, True)]
    except Exception as failure:
        return Outcome(Status.UNCOUNTED, first_line(failure))
    problem = problem_of(case, plain[0]) or problem_of(case, plain[1])
    if problem:
        return Outcome(Status.UNCOUNTED, problem)
    try:
        model = Model.load(case.model)
    except PrunaError as failure:
        return Outcome(Status.REFUSED, failure.diagnostic.message, failure.diagnostic.code)
    except Exception as failure:
        return Outcome(Status.CRASHED, f"load: {first_line(failure)}")
    try:
        result = manager.run(model, instruments=[VerifyEach(debug=True)])
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "optimized.onnx")
            outputs = [_run(Path(folder) / "optimized.onnx", case, optimize) for optimize in (False, True)]
    except Exception as failure:
        return Outcome(Status.CRASHED, first_line(failure))
    for found in outputs:
        problem = problem_of(case, found) or _inexact(plain[0], found)
        if problem:
            return Outcome(Status.WRONG, problem)
    return Outcome(Status.PASSED, changed=result.changed)


def _run(model: onnx.ModelProto | Path, case: Case, optimize: bool) -> list[list[Any]]:
    return outputs_of(Session(model, optimize=optimize), case)


def outputs_of(session: Runner, case: Case) -> list[list[Any]]:
    """The outputs for each sample."""
    names = [spec.name for spec in session.inputs]
    found = []
    for given, _ in case.samples:
        feeds = {name: value for name, value in zip(names, given, strict=True) if value is not None}
        found.append(list(session.run(feeds).values()))
    return found


def problem_of(case: Case, found: Sequence[Sequence[Any]]) -> str:
    """What differs from the outputs that the case asks for; nothing if it is within its tolerance."""
    for (_, expected), outputs in zip(case.samples, found, strict=True):
        if len(expected) != len(outputs):
            return f"{len(outputs)} outputs instead of {len(expected)}"
        for index, (wanted, value) in enumerate(zip(expected, outputs, strict=True)):
            problem = _difference(wanted, value, case)
            if problem:
                return f"output {index}: {problem}"
    return ""


def _difference(wanted: Any, value: Any, case: Case) -> str:
    if isinstance(wanted, list):
        if not isinstance(value, list) or len(value) != len(wanted):
            return "another sequence"
        return next(filter(None, (_difference(*pair, case) for pair in zip(wanted, value, strict=True))), "")
    if wanted is None or value is None:
        return "" if wanted is value else "something instead of nothing, or the reverse"
    wanted, value = np.asarray(wanted), np.asarray(value)
    if wanted.shape != value.shape:
        return f"shape {value.shape} instead of {wanted.shape}"
    if wanted.dtype.kind in "OUS":
        return "" if wanted.astype(object).tolist() == value.astype(object).tolist() else "other text"
    if wanted.dtype != value.dtype:
        return f"{value.dtype} instead of {wanted.dtype}"
    rtol = case.rtol
    if wanted.dtype.name == "bfloat16":
        rtol, wanted, value = max(rtol, _BFLOAT16_TOLERANCE), wanted.astype(np.float32), value.astype(np.float32)
    try:
        np.testing.assert_allclose(value, wanted, rtol=rtol, atol=case.atol)
    except AssertionError as failure:
        return " ".join(str(failure).split())[:200]
    return ""


def _inexact(plain: Sequence[Sequence[Any]], found: Sequence[Sequence[Any]]) -> str:
    """How much the outputs differ from those of the original on ONNX Runtime, if it is more than `EXACT`."""
    for expected, outputs in zip(plain, found, strict=True):
        for index, (wanted, value) in enumerate(zip(expected, outputs, strict=True)):
            if isinstance(wanted, np.ndarray) and wanted.dtype.name not in _COARSE:
                error = relative_error({"": wanted}, {"": value})
                if error > EXACT:
                    return f"output {index} differs by {error:.1e} of its range from the original's"
    return ""


def first_line(failure: Exception) -> str:
    """What a failure says, on one line."""
    if isinstance(failure, PrunaError):
        return f"{failure.diagnostic.code}: {failure.diagnostic.message}"
    return f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
