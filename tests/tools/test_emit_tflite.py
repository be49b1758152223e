"""From a model to a .tflite file by the command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import onnx
import pytest

from pruna_ir.report.summary import SCHEMA

pytest.importorskip("ai_edge_litert")

from onnx_text import model_from

from pruna_ir.backends.tflite.session import LiteSession

Run = Callable[..., CompletedProcess[str]]
INTEGERS = "-passes=fuse,quantize<guard=false>"


def test_a_quantized_file_timed_in_its_own_runtime(run: Run, model_file: Path, data_file: Path) -> None:
    outcome = run("model.onnx", INTEGERS, "--data=data.npz", "--emit=tflite", "-o", "out.tflite", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    assert "latency, LiteRT" in outcome.stderr and "wrote out.tflite (tflite" in outcome.stderr
    document = json.loads(outcome.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert (document["target"], document["runtime"]) == ("tflite", "LiteRT")
    assert document["before"]["latency_ms"] > 0 and document["after"]["latency_ms"] > 0
    (artifact,) = document["artifacts"]
    checks = {check["name"]: check["result"] for check in artifact["checks"]}
    assert "XNNPACK runs" in checks["loads"] and "bit-identical" in checks["scales"]
    assert "steps" in checks["xnnpack"] and "steps" in checks["kernels"]


def test_beside_a_file_for_onnx_runtime_with_a_graph_of_its_own(run: Run, model_file: Path, data_file: Path) -> None:
    outcome = run("model.onnx", INTEGERS, "--data=data.npz", "--emit=onnx,tflite<io=nhwc>", "-o", "out", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    document = json.loads(outcome.stdout)
    assert [document["runtime"], *(other["runtime"] for other in document["others"])] == ["ONNX Runtime", "LiteRT"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["model.onnx", "model.tflite"]
    session = LiteSession(Path("out/model.tflite"))
    assert session.native.get_input_details()[0]["shape"].tolist() == [1, 8, 8, 3]


def test_the_original_need_not_be_writable(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pruna_ir.backends.tflite.backend import TfliteBackend
    from pruna_ir.diagnostics import error
    from pruna_ir.model import Model

    def refuse(self: TfliteBackend, model: Model) -> LiteSession:
        raise error("E004", "one operator cannot be written")

    monkeypatch.setattr(TfliteBackend, "original", refuse)
    outcome = run("model.onnx", "-O1", "--emit=tflite", "-o", "out.tflite", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    reason = "the original cannot be written for LiteRT: one operator cannot be written"
    assert json.loads(outcome.stdout)["before"]["latency_ms_reason"] == reason


def test_what_cannot_be_written_is_told_on_one_screen(run: Run, tmp_path: Path) -> None:
    lines = " ".join(f"d{index} = Det (m)" for index in range(60))
    outputs = ", ".join(f"float d{index}" for index in range(60))
    onnx.save(model_from(f"g (float[2,2] m) => ({outputs}) {{ {lines} }}").to_proto(), "dets.onnx")
    outcome = run("dets.onnx", "-O0", "--emit=tflite", "-o", "out.tflite")
    assert outcome.returncode == 1 and "error[E004]: 60 operators cannot be written" in outcome.stderr
    assert "and 40 more" in outcome.stderr and len(outcome.stderr.splitlines()) <= 26
    assert not Path("out.tflite").exists()


def test_the_missing_package_is_named_before_any_work(
    run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    hidden = "ai_edge_litert"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == hidden else find(name, *rest))
    outcome = run("model.onnx", "-O1", "--emit=tflite", "-o", "out.tflite")
    assert outcome.returncode == 1 and "error[X001]" in outcome.stderr and "pruna-ir[tflite]" in outcome.stderr


def test_the_target_of_the_back_end_is_the_default(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O1", "--emit=tflite<batch=2>", "-o", "out.tflite", "--dry-run")
    assert "target    tflite\n" in outcome.stdout and "back end  tflite<batch=2>" in outcome.stdout


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("tflite<layout=nhwc>", "P003", "no option `layout`"),
        ("tflite<io=hwc>", "P004", "one of onnx"),
        ("tflite<batch=0>", "P004", "batch"),
        ("tflite<dtype=int4>", "P004", "float16"),
        ('tflite<labels="none.txt">', "D001", "none.txt"),
    ],
)
def test_options_that_do_not_exist(run: Run, model_file: Path, text: str, code: str, words: str) -> None:
    outcome = run("model.onnx", "-O1", f"--emit={text}", "-o", "out.tflite")
    assert outcome.returncode and f"error[{code}]" in outcome.stderr and words in outcome.stderr
    assert len(outcome.stderr.splitlines()) <= 6
