"""Emission: files that are checked before anybody sees them, and the contract that other back ends build on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import pruna_ir as pi
from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.emission import Backend, Check, Emitted, Feeds, first_samples, parse_backends
from pruna_ir.model import Model
from pruna_ir.pipeline.options import option
from pruna_ir.runtime.session import Session

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n,3] x) => (float[n,3] y) <float[3] w = {1, 2, 3}> { y = Mul (x, w) }"""


@dataclass(frozen=True)
class FolderBackend(Backend):
    """Write a folder of two files; can be told to fail."""

    name: ClassVar[str] = "folder"
    suffix: ClassVar[str] = ".folder"
    target: ClassVar[str] = "ort-arm"

    layout: str = option("nchw", "the order of axes")
    broken: bool = option(False, "fail in the check")

    def legalize(self, model: Model) -> Model:
        """Rename a copy, to be seen in what is written."""
        legal = model.clone()
        legal.graph.name = "legal"
        return legal

    def emit(self, model: Model, path: Path) -> None:
        """Write the files."""
        path.mkdir()
        (path / "a").write_text(model.graph.name)
        (path / "b").write_text(self.layout)

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Fail if told so."""
        assert emitted.model.graph.name == "legal"
        if self.broken:
            raise error("E002", "seeded failure", place=emitted.path)
        return (Check("samples", str(len(samples))),)

    def wrote(self, path: Path) -> bool:
        return (path / "a").exists()


@pytest.fixture
def model() -> Model:
    return Model.from_text(TEXT)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_or_error = registry.backend
    monkeypatch.setattr(registry, "backend", lambda name: FolderBackend if name == "folder" else onnx_or_error(name))


def test_onnx_file(model: Model, tmp_path: Path) -> None:
    artifact = pi.emit(model, "onnx", tmp_path / "m.onnx", data=np.ones((9, 3), np.float32))
    content = artifact.path.read_bytes()
    assert (artifact.bytes, artifact.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [check.name for check in artifact.checks] == ["loads", "outputs", "optimized"]
    assert "4 samples" in artifact.checks[1].result
    assert Session(artifact.path).run({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[1, 2, 3]]


def test_several_files_and_options(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.folder"
    path.mkdir()
    for name in ("a", "stale"):
        (path / name).write_text("from an earlier run")
    artifact = pi.emit(model, "folder<layout=nhwc>", path)
    assert sorted(part.name for part in path.iterdir()) == ["a", "b"]
    assert (path / "a").read_text() == "legal" and model.graph.name == "g"
    assert artifact.bytes == len("legal") + len("nhwc") and artifact.checks == (Check("samples", "1"),)


@pytest.mark.parametrize("backend", ["folder", "onnx"])
def test_the_folder_of_somebody_else_stays(backend: str, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "photos"
    path.mkdir()
    (path / "precious").write_text("1")
    with pytest.raises(PrunaError, match=f"C003.*a folder that `{backend}` did not write"):
        pi.emit(model, backend, path)
    assert [part.name for part in path.iterdir()] == ["precious"]


def test_a_file_that_does_not_run_here_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(PrunaError, match=r"E003.*`folder` files do not run"):
        FolderBackend().session(tmp_path)


def test_made_up_samples_give_numbers(model: Model) -> None:
    assert [list(feeds) for feeds in first_samples(Session(model), None)] == [["x"]]
    undefined = Model.from_text(TEXT.replace("Mul (x, w)", "Log (x)").replace("<float[3] w = {1, 2, 3}>", ""))
    assert first_samples(Session(undefined), None) == []


def test_nothing_is_left_behind_by_a_failed_check(model: Model, tmp_path: Path) -> None:
    (tmp_path / "m.folder").mkdir()
    (tmp_path / "m.folder" / "a").write_text("precious")
    with pytest.raises(PrunaError, match="E002"):
        pi.emit(model, "folder<broken>", tmp_path / "m.folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["m.folder", "a"]


def test_never_over_the_source(model: Model, tmp_path: Path) -> None:
    pi.emit(model, "onnx", tmp_path / "m.onnx")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "m.onnx")
    loaded = pi.load(tmp_path / "m.onnx")
    for name in ("m.onnx", "link.onnx"):
        with pytest.raises(PrunaError, match="C002"):
            pi.emit(loaded, "onnx", tmp_path / name)


def test_text_round_trip() -> None:
    assert [str(backend) for backend in parse_backends("onnx, folder<layout=nhwc;broken>")] == [
        "onnx",
        "folder<layout=nhwc;broken=true>",
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [("onxn", "E001"), ("onnx,onnx", "E001"), ("", "E001"), ("folder<x=1>", "P003"), ("onnx<", "P001")],
)
def test_what_names_no_back_end(model: Model, tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(PrunaError, match=code):
        pi.emit(model, text, tmp_path / "m.onnx")


def test_missing_folder(model: Model, tmp_path: Path) -> None:
    with pytest.raises(PrunaError, match="C003"):
        pi.emit(model, "onnx", tmp_path / "missing" / "m.onnx")
