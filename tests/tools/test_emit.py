"""Several back ends in one run, and one whose files do not run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import ClassVar

import pytest

from pruna_ir import registry
from pruna_ir.backends.onnxruntime.backend import OnnxBackend
from pruna_ir.diagnostics import error
from pruna_ir.emission import Backend, Check, Emitted, Feeds
from pruna_ir.model import Model
from pruna_ir.pipeline.options import option

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
    target: ClassVar[str] = "ort-arm"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, type[Backend]] = {"onnx": OnnxBackend, "listing": Listing, "arm-onnx": ArmOnnx}
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


def test_back_ends_of_different_targets_need_one_named(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--emit=onnx,arm-onnx", "-o", "out")
    assert (
        outcome.returncode == 2 and "error[C004]" in outcome.stderr and "`arm-onnx` wants `ort-arm`" in outcome.stderr
    )


def test_same_file_twice(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--emit=onnx,onnx", "-o", "out")
    assert outcome.returncode == 2 and "written twice" in outcome.stderr
