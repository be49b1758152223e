"""What is imported when: nothing heavy before there is work, and no framework ever without being asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pruna_ir

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "onnxsim", "rich", "yaml", "PIL", "scipy", "sklearn"}
FRAMEWORKS = {"torch", "tensorflow", "coremltools", "ai_edge_litert", "tensorrt_rtx"}
MAIN = "from pruna_ir.tools.pruna_opt import main"


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after running `code`."""
    script = f"{code}\nimport sys\nprint('loaded', *{{name.partition('.')[0] for name in sys.modules}})"
    outcome = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(outcome.stdout.rpartition("loaded")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import pruna_ir",
        "from pruna_ir import PrunaError",
        f"{MAIN}\nmain(['--help'])",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_by(code) & (HEAVY | FRAMEWORKS) == set()


def test_exact_run_loads_no_framework() -> None:
    code = f"{MAIN}\nfrom pruna_ir.demo import MODEL\nassert main([str(MODEL), '-O1', '--quiet']) == 0"
    assert loaded_by(code) & FRAMEWORKS == set()


def test_every_public_name_resolves() -> None:
    assert set(pruna_ir.__all__) <= set(dir(pruna_ir))
    for name in pruna_ir.__all__:
        assert getattr(pruna_ir, name) is not None
    assert pruna_ir.load == pruna_ir.Model.load


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute `laod`"):
        _ = pruna_ir.laod
