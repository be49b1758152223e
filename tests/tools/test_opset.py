"""--opset: a pass before the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import onnx
import pytest

Run = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [(["-O0"], ""), (["-passes=fuse"], ",fuse"), (["-passes="], "")],
)
def test_stands_first_in_the_pipeline(run: Run, arguments: list[str], rest: str) -> None:
    outcome = run("--opset", 23, *arguments, "--print-pipeline")
    assert outcome.stdout == f"raise-opset<to=23>{rest}\n"


def test_levels_keep_their_passes(run: Run) -> None:
    plain = run("-O1", "--print-pipeline").stdout
    assert run("-O1", "--opset=23", "--print-pipeline").stdout == f"raise-opset<to=23>,{plain}"


def test_writes_the_raised_model(run: Run, model_file: Path) -> None:
    outcome = run(model_file, "--opset", 20, "-o", "out.onnx", "--remarks=passed")
    assert outcome.returncode == 0, outcome.stderr
    assert [entry.version for entry in onnx.load("out.onnx").opset_import] == [20]
    assert "passed [raise-opset]: raised from 17 to 20" in outcome.stderr


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        ("16", "M011", "the model's opset is 17: it cannot be lowered to 16"),
        ("99", "M011", "opset 99 is newer than the installed onnx and onnxruntime"),
        ("12", "P004", "`to` must lie at or above 13, not at 12"),
        ("new", "C001", "invalid int value: 'new'"),
    ],
)
def test_versions_that_cannot_be(run: Run, model_file: Path, value: str, code: str, words: str) -> None:
    outcome = run(model_file, "--opset", value)
    assert outcome.returncode != 0
    assert f"error[{code}]" in outcome.stderr and words in outcome.stderr
