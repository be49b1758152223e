"""A budget that cannot be met: the best found with a warning, and a failure under --strict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., CompletedProcess[str]]
IMPOSSIBLE = "-passes=mixed-precision<bytes=0.01;max-drop=1;int8=[*]>"


def test_best_found_with_a_warning(run: Run, model_file: Path, data_file: Path, tmp_path: Path) -> None:
    outcome = run(model_file, IMPOSSIBLE, "--data", data_file, "-o", "out.onnx")
    assert outcome.returncode == 0, outcome.stderr
    assert "warning: mixed-precision: the budget cannot be met" in outcome.stderr
    assert (tmp_path / "out.onnx").exists()


def test_failure_under_strict(run: Run, model_file: Path, data_file: Path, tmp_path: Path) -> None:
    outcome = run(model_file, IMPOSSIBLE, "--data", data_file, "--strict", "-o", "out.onnx")
    assert outcome.returncode == 1
    assert "error[C005]: mixed-precision: the budget cannot be met" in outcome.stderr
    assert not (tmp_path / "out.onnx").exists()
