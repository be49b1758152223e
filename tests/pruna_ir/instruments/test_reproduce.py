from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import outside_package
import pytest
import seeded_passes as seeded
from conv_chains import conv_bn_chain
from seeded_passes import Seeded, small_model

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.reproduce import Reproducer
from pruna_ir.instruments.verify import VerifyEach
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

# Fails where there is an Exp and no BatchNormalization: only the passes before it make that so.
PICKY = """
from dataclasses import dataclass
from typing import ClassVar
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult


@dataclass(frozen=True)
class Picky(Pass):
    \"\"\"Fail on graphs without a BatchNormalization.\"\"\"

    name: ClassVar[str] = "picky"
    effect: ClassVar[Effect] = Effect.EXACT
    mood: str = option("fine", "what it is like today")

    def run(self, model, context):
        if not any(node.op == "BatchNormalization" for node in model.graph.nodes):
            raise KeyError(f"{self.mood}: {len(model.graph.nodes)} nodes")
        return PassResult()
"""
PIPELINE = 'dead-code,picky,fuse,picky<mood="not so good">,fuse'


@pytest.fixture
def picky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that brings the pass `picky`."""
    folder = tmp_path / "site"
    folder.mkdir()
    outside_package.install(folder, "picky_passes", PICKY, {"pruna_ir.passes": {"picky": "picky_passes:Picky"}})
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(registry.PASSES, "picky", "picky_passes:Picky")
    return folder


def fail(reproducer: Reproducer) -> PrunaError:
    with pytest.raises(PrunaError) as caught:
        PassManager.parse(PIPELINE).run(conv_bn_chain(3), instruments=[reproducer])
    return caught.value


@pytest.mark.usefixtures("picky")
def test_the_pass_fails_the_same_way_from_the_folder(tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path / "out" / "reproducer", ["--target", "ort-x86"])
    failure = fail(reproducer)
    folder = reproducer.written
    assert folder == tmp_path / "out" / "reproducer"
    details = json.loads((folder / "details.json").read_text())
    assert details["pipeline"] == 'picky<mood="not so good">'
    assert details["full_pipeline"] == 'dead-code,picky,fuse,picky<mood="not so good">'
    assert details["versions"].keys() >= {"python", "platform", "onnx", "onnxruntime", "numpy"}
    assert shlex.split(details["command"]) == [
        "pruna-opt",
        "model.onnx",
        '-passes=picky<mood="not so good">',
        "--target",
        "ort-x86",
    ]
    assert (folder / "diagnostic.txt").read_text() == "KeyError: 'not so good: 3 nodes'\n"

    model = Model.load(folder / "model.onnx")
    assert len(model.graph.nodes) == 3  # fused: it is the model before the failing pass
    with pytest.raises(PrunaError) as again:
        PassManager.parse(details["pipeline"]).run(model)
    assert again.value.diagnostic == failure.diagnostic


def test_the_script_fails_the_same_way_in_a_new_process(picky: Path, tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path / "reproducer", ["--target=ort-x86"])
    failure = fail(reproducer)
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "pruna-opt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pruna_ir.tools.pruna_opt "$@"\n')
    program.chmod(0o755)
    root = Path(__file__).parents[3]
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{picky}{os.pathsep}{root}",
        "NO_COLOR": "1",
    }
    script = tmp_path / "reproducer" / "reproduce.sh"
    done = subprocess.run([script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == failure.exit_code == 1
    assert f"error[P007]: {failure.diagnostic.message}" in done.stderr


def test_a_failure_of_an_instrument_is_reproduced_too(tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path, ["--verify-each"])
    passes = [Seeded(seeded.change_weights), Seeded(seeded.invalid_attribute)]
    with pytest.raises(PrunaError, match="Unrecognized attribute"):
        PassManager(passes).run(small_model(), instruments=[reproducer, VerifyEach()])
    assert "error[P008]: onnx.checker refuses" in (tmp_path / "diagnostic.txt").read_text()
    model = Model.load(tmp_path / "model.onnx")
    assert model.graph.nodes[0].inputs[1].values.tolist() == [2, 3, 4, 5]  # after the first pass
    with pytest.raises(PrunaError, match="Unrecognized attribute"):
        PassManager(passes[1:]).run(model, instruments=[VerifyEach()])


def test_decisions_are_not_measured_again(tmp_path: Path) -> None:
    measured: list[int] = []
    passes = [seeded.Deciding(measured.append), Seeded(seeded.fail)]
    with pytest.raises(PrunaError):
        PassManager(passes).run(small_model(), instruments=[Reproducer(tmp_path)])
    assert len(measured) == 1


def test_passes_that_do_not_repeat_give_the_whole_pipeline(tmp_path: Path) -> None:
    """The first pass fails when it runs again, so the model before the second cannot be had."""
    runs: list[int] = []

    def once(graph: object) -> None:
        runs.append(1)
        if len(runs) > 1:
            raise RuntimeError("not again")

    with pytest.raises(PrunaError, match="oops"):
        PassManager([Seeded(once), Seeded(seeded.fail)]).run(small_model(), instruments=[Reproducer(tmp_path)])
    assert json.loads((tmp_path / "details.json").read_text())["pipeline"] == "seeded,seeded"
    assert Model.load(tmp_path / "model.onnx").fingerprint() == small_model().fingerprint()


def test_a_folder_that_cannot_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reproducer = Reproducer(tmp_path / "file" / "folder")
    with pytest.raises(PrunaError, match="oops"):
        PassManager([Seeded(seeded.fail)]).run(small_model(), instruments=[reproducer])
    assert reproducer.written is None
    assert "Not a directory" in reproducer.problem


def test_a_run_that_goes_well_writes_nothing(tmp_path: Path) -> None:
    reproducer = Reproducer(tmp_path / "folder")
    PassManager.parse("fuse").run(small_model(), instruments=[reproducer])
    assert not reproducer.folder.exists()
    assert reproducer.written is None
