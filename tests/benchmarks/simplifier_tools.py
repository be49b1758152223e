"""The tools that bench_simplifiers.py compares, each as a call that reads a model and writes a simpler one.

A tool runs in a process of its own (`python simplifier_tools.py TOOL IN OUT` prints the seconds), so that a crash or a
hang costs its row and nothing else. What a tool imports is imported before the clock starts.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

TIMEOUT = 300


@dataclass(frozen=True)
class Tool:
    """A simplifier: its package, the modules that it runs on, and the call, from one path to another."""

    package: str
    modules: tuple[str, ...]
    simplify: Callable[[str, str], object]

    def version(self) -> str | None:
        """The installed version, None if there is none."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def _pruna_ir(source: str, out: str) -> None:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.manager import PassManager

    model = Model.load(source)
    PassManager.parse("O1").run(model)
    model.save(out)


def _onnxsim(source: str, out: str) -> None:
    import onnx
    import onnxsim

    simplified, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(simplified, out)


def _onnxslim(source: str, out: str) -> None:
    slim: Any = importlib.import_module("onnxslim").slim
    slim(source, out)


def _onnxruntime(source: str, out: str) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = out
    options.log_severity_level = 4
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


OURS = "pruna-ir"
TOOLS = {
    OURS: Tool("pruna-ir", ("pruna_ir.model", "pruna_ir.pipeline.manager"), _pruna_ir),
    "onnxsim": Tool("onnxsim", ("onnx", "onnxsim"), _onnxsim),
    "onnxslim": Tool("onnxslim", ("onnxslim",), _onnxslim),
    "ORT basic": Tool("onnxruntime", ("onnxruntime",), _onnxruntime),
}


def run(tool: str, source: Path, out: Path) -> tuple[float | None, str]:
    """Seconds that the tool took, or None and why it failed."""
    command = [sys.executable, __file__, tool, str(source), str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return None, f"not done after {TIMEOUT} s"
    if done.returncode != 0 or not out.exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return None, lines[-1][:200]
    return float(done.stdout.split()[-1]), ""


def main() -> None:
    """Run one tool and print its seconds."""
    name, source, out = sys.argv[1:]
    tool = TOOLS[name]
    for module in tool.modules:
        importlib.import_module(module)
    start = time.perf_counter()
    tool.simplify(source, out)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
