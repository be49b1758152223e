"""Cases of ONNX's backend suite, written as .tflite and run on LiteRT."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

# Once, and not in every process.
import ai_edge_litert.interpreter
import ai_edge_litert.schema_py_generated  # noqa: F401
from backend_cases import Case
from emitted_cases import Outcome
from emitted_cases import judge as judge_written

from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.model import Model
from pruna_ir.runtime.runner import Runner


def judge(case: Case) -> Outcome:
    """Write a case, and run it on XNNPACK's kernels and on LiteRT's own."""
    return judge_written(case, opened)


def opened(case: Case) -> Mapping[str, Callable[[], Runner]]:
    """What runs the file of a case."""
    content = written(case)
    return {
        "XNNPACK": lambda: LiteSession(content),
        "LiteRT's kernels": lambda: LiteSession(content, delegate=False),
    }


def written(case: Case) -> bytes:
    """The file that the back end makes of a case."""
    backend = TfliteBackend()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.tflite"
        backend.emit(backend.legalize(Model.load(case.model)), path)
        return path.read_bytes()
