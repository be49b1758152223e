from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from seeded_passes import small_model

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.save import write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved model."""
    small_model().save(tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def test_the_bytes_on_disk_are_returned(tmp_path: Path) -> None:
    size = small_model().save(tmp_path / "m.onnx")
    assert size == (tmp_path / "m.onnx").stat().st_size
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_inferred_types_are_not_stored(path: Path) -> None:
    model = Model.load(path)
    assert len(model.to_proto().graph.value_info) == 2
    assert len(onnx.load(path).graph.value_info) == 0


def test_saving_over_another_file_replaces_it(tmp_path: Path, path: Path) -> None:
    (tmp_path / "out.onnx").write_text("old")
    Model.load(path).save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_input_is_never_overwritten(path: Path, link: object) -> None:
    model, target = Model.load(path), path
    if link is not None:
        target = path.with_name("link.onnx")
        link(path, target)  # type: ignore[operator]
    before = path.read_bytes()
    for saved in (model, model.clone()):
        with pytest.raises(PrunaError) as caught:
            saved.save(target)
        assert caught.value.diagnostic.code == "C002"
    assert path.read_bytes() == before


def failure(path: Path, limit: int) -> str:
    before = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(PrunaError) as caught:
        write(small_model().to_proto(), path, limit=limit)
    assert caught.value.diagnostic.code == "C003"
    if before is not None:
        assert sorted(file.name for file in path.parent.iterdir()) == before
    return caught.value.diagnostic.message


@pytest.mark.parametrize("limit", [0, 10**6])
def test_a_failing_write_leaves_nothing(tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.onnx").mkdir()
    assert failure(tmp_path / "folder.onnx", limit) == "cannot write: Is a directory"
    assert failure(tmp_path / "none" / "m.onnx", limit) == "cannot write: No such file or directory"
    (tmp_path / "file").write_text("")
    assert failure(tmp_path / "file" / "m.onnx", limit) == "cannot write: Not a directory"

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert failure(tmp_path / "m.onnx", limit) == "cannot write: No space left on device"


def test_an_old_file_survives_a_failing_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    failure(path, 10**6)
    assert path.read_bytes() == before
