"""The process that onnxsim runs in, seen from ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruna_ir.diagnostics import error
from pruna_ir.remarks import Reason

_WORKER = Path(__file__).with_name("onnxsim_worker.py")


class OnnxsimProcess:
    """Starts at once, so that it imports what it needs while the model is still being written; a context manager.

    `skipped` are the optimizers that onnxsim leaves out. With `infer_shapes` false it works with the types that the
    model says, instead of inferring those of the whole graph anew in every round. Raises X001 if onnxsim is not
    installed.
    """

    def __init__(self, skipped: Sequence[str], *, infer_shapes: bool = True) -> None:
        package = _package()
        self._folder = tempfile.TemporaryDirectory(prefix="pruna-onnxsim-")
        self._target = Path(self._folder.name) / "out.onnx"
        settings = ["--infer-shapes"] if infer_shapes else []
        # -P: a module of ours is called onnxsim too, and the script's own folder must not be searched for it.
        command = [sys.executable, "-P", str(_WORKER), package, str(self._target), *settings, *skipped]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, cwd=self._folder.name
        )

    def __enter__(self) -> OnnxsimProcess:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def simplify(self, model: bytes, timeout: float) -> bytes | Reason:
        """The simplified model, or why there is none. `timeout` is in seconds; call it once."""
        try:
            _, errors = self._process.communicate(model, timeout)
        except subprocess.TimeoutExpired:
            return Reason("onnxsim did not end within {:g} seconds (`timeout`)", timeout)
        code = self._process.returncode
        if code < 0:
            return Reason("onnxsim was stopped by signal {}", -code)
        if code > 0:
            lines = errors.decode(errors="replace").strip().splitlines()
            return Reason("onnxsim failed: {}", lines[-1][:300] if lines else f"exit code {code}")
        simplified = self._target.read_bytes()
        return simplified or Reason("onnxsim returned nothing: its result is above 2 GB")


def _package() -> str:
    """The folder of the installed onnxsim, found without importing it."""
    spec = importlib.util.find_spec("onnxsim")
    if spec is None or not spec.submodule_search_locations:
        raise error("X001", "`onnxsim` is not installed", help="pip install 'onnxsim>=0.8,<0.9'")
    return next(iter(spec.submodule_search_locations))
