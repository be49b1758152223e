"""A budget that cannot be met: the best found with a warning, and a failure under --strict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
IMPOSSIBLE = {"bytes": "bytes=0.01;max-drop=1;int8=[*]", "time": "latency=0.001;max-drop=1"}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_best_found_with_a_warning(run: Run, model_file: Path, data_file: Path, tmp_path: Path, what: str) -> None:
    passes = f"-passes=mixed-precision<{IMPOSSIBLE[what]}>"
    outcome = run(model_file, passes, "--data", data_file, "-o", "out.onnx", "--quiet")
    assert outcome.returncode == 0, outcome.stderr
    (warning,) = (line for line in outcome.stderr.splitlines() if "mixed-precision" in line)
    assert warning.startswith("warning: mixed-precision: the budget cannot be met: ")
    assert f"% of the {what} are left" in warning and "best found" in warning
    assert (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_failure_under_strict(run: Run, model_file: Path, data_file: Path, tmp_path: Path, what: str) -> None:
    passes = f"-passes=mixed-precision<{IMPOSSIBLE[what]}>"
    outcome = run(model_file, passes, "--data", data_file, "--strict", "-o", "out.onnx", "--json=s.json")
    assert outcome.returncode == 1
    assert "error[C005]: mixed-precision: the budget cannot be met" in outcome.stderr
    assert not (tmp_path / "out.onnx").exists() and not (tmp_path / "s.json").exists()
