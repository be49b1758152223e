"""Damaged and foreign files are diagnostics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruna_ir.calibration import Record, Statistics
from pruna_ir.diagnostics import PrunaError


def refused(path: Path) -> str:
    with pytest.raises(PrunaError) as failure:
        Statistics.load(path)
    assert failure.value.diagnostic.code == "S002"
    return str(failure.value)


@pytest.fixture
def path(tmp_path: Path, record: Record) -> Path:
    path = tmp_path / "s.npz"
    Statistics({"x": record}, 1).save(path)
    return path


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 cut"])
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.npz").write_bytes(content)
    refused(tmp_path / "s.npz")


def test_a_file_that_was_cut(path: Path) -> None:
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_flipped_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    refused(path)


def test_an_npy_file_and_a_foreign_archive(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as stream:
        np.save(stream, np.zeros(3))
    refused(tmp_path / "a")
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    refused(tmp_path / "b.npz")


def test_pickles_are_not_opened(path: Path) -> None:
    np.savez(path, **{**arrays(path), "names": np.array(["x"], object)})  # type: ignore[arg-type]
    refused(path)


def test_another_format(path: Path) -> None:
    np.savez(path, **{**arrays(path), "format": np.array(99)})  # type: ignore[arg-type]
    assert "format 99" in refused(path)


@pytest.mark.parametrize("name", ["buckets", "weights", "minimum.0", "histogram.0", "ranges", "counts"])
def test_arrays_that_do_not_fit_together(path: Path, name: str) -> None:
    changed = arrays(path)
    changed[name] = changed[name][:-1]
    np.savez(path, **changed)  # type: ignore[arg-type]
    refused(path)
