"""Cases of ONNX's backend suite, written for TensorRT and built by TensorRT for RTX."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from backend_cases import Case
from emitted_cases import Outcome
from emitted_cases import judge as judge_written

from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.bundle.build_engine import Failure, build
from pruna_ir.backends.tensorrt.operators import plugins
from pruna_ir.model import Model
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

_OPTIONS = argparse.Namespace(workspace=0, compute_capability="8.9", timing_cache=None)


def judge(case: Case) -> Outcome:
    """Write a case, build its engine, and run the network in ONNX Runtime."""
    return judge_written(case, opened)


def opened(case: Case) -> Mapping[str, Callable[[], Runner]]:
    """What runs the network of a case, once its engine is built."""
    legal = TensorrtBackend(build="never").legalize(Model.load(case.model))
    if not plugins(legal.graph):
        build_engine(legal)
    return {"ONNX Runtime": lambda: Session(legal, optimize=False)}


def build_engine(legal: Model) -> None:
    """Build an engine for one kind of GPU; raises what TensorRT says if it cannot."""
    import tensorrt_rtx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.onnx"
        legal.save(path)
        logger = _logger(tensorrt_rtx)
        logger.errors.clear()
        try:
            build(tensorrt_rtx, logger, path, {}, _OPTIONS, None)
        except Failure as failure:
            raise RuntimeError(" ".join([str(failure), *logger.errors])) from None


@cache
def _logger(trt: Any) -> Any:
    """One that keeps the errors: a process goes on using the first that it has."""
    severity = trt.ILogger.Severity

    class Keeper(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Keeper()
