"""The examples run as they are."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from pruna_ir.demo import MODEL
from pruna_ir.runtime.session import Session

ROOT = Path(__file__).resolve().parents[1]


def run_example(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_graph_in_graph_out(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert "fuse" in run_example("graph_in_graph_out.py", MODEL, out)
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(out).graph.node}
    image = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    expected, found = Session(MODEL).run({"image": image})["logits"], Session(out).run({"image": image})["score_0"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_embed_in_export_script(tmp_path: Path) -> None:
    for package in ("torch", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package}, which torch.onnx.export needs, is not installed")
    out = tmp_path / "out.onnx"
    assert "wrote" in run_example("embed_in_export_script.py", out)
    assert Session(out).run({"image": np.zeros((3, 3, 32, 32), np.float32)})
