"""The proof by building: the bundle's own script makes an engine with TensorRT for RTX, which needs no GPU for that."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pruna_ir.backends.tensorrt.build_log import BuiltLayer, read_layers
from pruna_ir.diagnostics import error
from pruna_ir.emission import Feeds

MODULE = "tensorrt_rtx"
SCRIPT = "build_engine.py"
# An engine for one kind of GPU takes a quarter of the time of one for all: Ada, which has kernels for all types.
_CAPABILITY = "8.9"
_SHOWN = 12


def installed() -> bool:
    """Whether TensorRT for RTX is."""
    return importlib.util.find_spec(MODULE) is not None


def require_installed() -> None:
    """Raise X001 if it is not."""
    if not installed():
        help_text = "pip install 'pruna-ir[tensorrt]' (NVIDIA's licence), or leave the engine unproved: build=installed"
        raise error("X001", "the engine is built with `tensorrt-rtx`, which is not installed", help=help_text)


@dataclass(frozen=True)
class Build:
    """An engine that was built: by what, its size, and its layers."""

    version: str
    bytes: int
    layers: tuple[BuiltLayer, ...]


def build(bundle: Path) -> Build:
    """Build the engine of a bundle, in a process of its own: the builder may end it.

    Raises E002 with TensorRT's reasons if it refuses the network.
    """
    with tempfile.TemporaryDirectory(prefix="pruna-") as folder:
        log, engine = Path(folder) / "build.log", Path(folder) / "model.engine"
        capability = ["--compute-capability", _CAPABILITY]
        done = _run(bundle, "--only-build", *capability, "--engine", str(engine), "--log", str(log))
        if done.returncode:
            raise error("E002", f"TensorRT for RTX {_how(done)}", place=bundle.name, notes=_reasons(done.stderr))
        version = done.stdout.split(":", 1)[0].replace("_", "-")
        return Build(version, engine.stat().st_size, tuple(read_layers(log.read_text(encoding="utf-8"))))


def run(bundle: Path, feeds: Feeds) -> dict[str, np.ndarray] | str:
    """The outputs of the engine on the GPU of this machine; or why it does not run there."""
    with tempfile.TemporaryDirectory(prefix="pruna-") as folder:
        given, found = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, **feeds)  # type: ignore[arg-type]
        engine = str(Path(folder) / "model.engine")
        done = _run(bundle, "--engine", engine, "--feeds", str(given), "--outputs", str(found))
        if done.returncode:
            return (_reasons(done.stderr) or [_how(done)])[-1]
        with np.load(found) as stored:
            return dict(stored)


def _run(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(bundle / SCRIPT), "--module", MODULE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _how(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"ended with {signal.Signals(-done.returncode).name} while it built the engine"
    return "does not build the network"


def _reasons(stderr: str) -> Sequence[str]:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return list(dict.fromkeys(lines))[-_SHOWN:]
