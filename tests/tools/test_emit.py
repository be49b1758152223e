"""Several back ends in one run, and one whose files do not run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, ClassVar

import jsonschema
import onnx
import pytest

from pruna_ir import registry
from pruna_ir.backends.onnxruntime.backend import OnnxBackend
from pruna_ir.calibration import Statistics, collect
from pruna_ir.diagnostics import error
from pruna_ir.emission import Backend, Check, Emitted, Feeds
from pruna_ir.model import Model
from pruna_ir.pipeline.options import option
from pruna_ir.report.summary import SCHEMA

Run = Callable[..., CompletedProcess[str]]


@dataclass(frozen=True)
class Listing(Backend):
    """Write the names of the nodes."""

    name: ClassVar[str] = "listing"
    suffix: ClassVar[str] = ".txt"
    target: ClassVar[str] = "ort-cpu"

    title: str = option("nodes", "the first line")
    broken: bool = option(False, "fail in the check")

    def emit(self, model: Model, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([self.title, *(node.name for node in model.graph.nodes)]))

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Fail if told so."""
        if self.broken:
            raise error("E002", "seeded failure", place=emitted.path.name)
        return ()


@dataclass(frozen=True)
class ArmOnnx(OnnxBackend):
    """Like `onnx`, for another target."""

    name: ClassVar[str] = "arm-onnx"
    suffix: ClassVar[str] = ".arm"
    target: ClassVar[str] = "ort-arm"


@dataclass(frozen=True)
class VnniOnnx(OnnxBackend):
    """Like `onnx`, for another one."""

    name: ClassVar[str] = "vnni-onnx"
    suffix: ClassVar[str] = ".vnni"
    target: ClassVar[str] = "ort-x86-vnni"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    several = (OnnxBackend, Listing, ArmOnnx, VnniOnnx)
    known: dict[str, type[Backend]] = {backend.name: backend for backend in several}
    monkeypatch.setattr(registry, "backend", lambda name: known[name])


def test_several_back_ends_write_into_a_folder(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-passes=fuse", "--emit=onnx,listing<title=ops>", "-o", "out", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["model.onnx", "model.txt"]
    assert Path("out/model.txt").read_text().splitlines() == [
        "ops",
        "conv",
        "identity",
        "relu",
        "pool",
        "flatten",
        "head",
    ]
    first, second = json.loads(outcome.stdout)["artifacts"]
    assert first["latency_ms"] > 0
    assert second["latency_ms"] is None and "only the first" in second["latency_ms_reason"]


def test_a_file_that_does_not_run_here_is_unmeasured(run: Run, model_file: Path, data_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--emit=listing", "--data=data.npz", "-o", "out.txt", "--json", "-")
    assert outcome.returncode == 0 and Path("out.txt").exists()
    after = json.loads(outcome.stdout)["after"]
    reason = "`listing` files do not run on this machine"
    assert (after["latency_ms_reason"], after["metric_reason"]) == (reason, reason)


def test_if_one_back_end_fails_nothing_is_written(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--emit=onnx,listing<broken>", "-o", "out")
    assert outcome.returncode == 1 and "error[E002]" in outcome.stderr
    assert [path.name for path in Path().iterdir()] == ["model.onnx"]


def integers(path: Path) -> set[str]:
    """The types of the zero points of a model's activations."""
    graph = onnx.load(path).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {constants[node.input[2]].dtype.name for node in graph.node if node.op_type == "QuantizeLinear"}


def test_each_back_end_gets_a_model_for_its_target(
    run: Run, model_file: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[int] = []

    def counting(model: Model, feeds: Any, names: list[str], **options: Any) -> Statistics:
        collected.append(len(names))
        return collect(model, feeds, names, **options)

    monkeypatch.setattr("pruna_ir.passes.quantization.quantize.collect", counting)
    passes = "-passes=quantize<guard=false>"
    outcome = run("model.onnx", passes, "--data=data.npz", "--emit=vnni-onnx,arm-onnx", "-o", "out", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    assert integers(Path("out/model.vnni")) == {"uint8"} and integers(Path("out/model.arm")) == {"int8"}
    assert len(collected) == 1
    document = json.loads(outcome.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["target"] == "ort-x86-vnni" and [other["target"] for other in document["others"]] == ["ort-arm"]
    assert [Path(item["path"]).name for item in document["artifacts"]] == ["model.vnni", "model.arm"]


def test_one_target_for_all_makes_one_model(run: Run, model_file: Path, data_file: Path) -> None:
    passes = "-passes=quantize<guard=false>"
    emit = "--emit=vnni-onnx,arm-onnx"
    outcome = run("model.onnx", passes, "--data=data.npz", emit, "--target=ort-arm", "-o", "out", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    assert integers(Path("out/model.vnni")) == integers(Path("out/model.arm")) == {"int8"}
    assert "others" not in json.loads(outcome.stdout)


@pytest.mark.parametrize("option", ["--decisions=d.json", "--manifest=m.json", "--bisect"])
def test_what_is_about_one_model_needs_one_target(run: Run, model_file: Path, option: str) -> None:
    outcome = run("model.onnx", "-O0", "--emit=vnni-onnx,arm-onnx", "-o", "out", option)
    assert outcome.returncode == 2 and "error[C004]" in outcome.stderr
    assert "`arm-onnx` wants `ort-arm`" in outcome.stderr


def test_same_file_twice(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--emit=onnx,onnx", "-o", "out")
    assert outcome.returncode == 2 and "written twice" in outcome.stderr
