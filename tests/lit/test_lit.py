"""Text in, text out: each .txt beside this file is a model, the passes to run, and the model that must come out.

    // RUN: -passes=fuse-conv-bn
    <the model as ONNX text>
    // CHECK
    <the model that comes out>
    // REMARK: missed [fuse-conv-bn] `y`: ...        (any number; a missed remark that is not listed fails the test)

`PRUNA_LIT_UPDATE=1 pytest tests/lit` writes what comes out into the files: read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.remarks import RemarkKind

FILES = sorted(Path(__file__).parent.glob("*.txt"))
RUN, CHECK, REMARK = "// RUN: -passes=", "// CHECK", "// REMARK: "


def run(text: str) -> tuple[str, str]:
    """The input part of a file, and what follows its CHECK line when its passes have run."""
    source = text.partition(CHECK)[0]
    passes, _, model_text = source.partition("\n")
    assert passes.startswith(RUN), f"the first line is `{RUN}...`"
    model = Model.from_text(model_text)
    result = PassManager.parse(passes.removeprefix(RUN)).run(model)
    lines = [line.rstrip() for line in str(model).strip().splitlines()]
    lines += [f"{REMARK}{remark}" for remark in result.remarks if remark.kind is RemarkKind.MISSED]
    return source, "\n".join([CHECK, *lines]) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_file(path: Path) -> None:
    text = path.read_text()
    source, found = run(text)
    if os.environ.get("PRUNA_LIT_UPDATE"):
        path.write_text(source + found)
    assert text.removeprefix(source) == found or os.environ.get("PRUNA_LIT_UPDATE")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_output_is_a_fixed_point(path: Path) -> None:
    """The model that comes out reads back, and the passes have nothing more to do to it."""
    text = path.read_text()
    passes = text.partition("\n")[0].removeprefix(RUN)
    expected = text.partition(CHECK)[2].partition("// REMARK")[0]
    model = Model.from_text(expected)
    before = model.fingerprint()
    assert not PassManager.parse(passes).run(model).changed
    assert model.fingerprint() == before
