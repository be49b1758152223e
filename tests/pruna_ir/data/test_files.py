from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.data.files import NpyFolderSource, NpzSource, load_npy, load_npz, require
from pruna_ir.data.sources import UNNAMED


def test_pickled_files_are_refused(tmp_path: Path, refuses: Any) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{"k": 1}], object))
    np.save(tmp_path / "a.npy", np.array([None], object))
    (tmp_path / "raw.npz").write_bytes(pickle.dumps([1, 2]))
    with refuses("D006", "pickled"):
        load_npz(tmp_path / "a.npz")
    with refuses("D006", "pickled"):
        load_npy(tmp_path / "a.npy")
    with refuses("D006", "pickled"):
        load_npz(tmp_path / "raw.npz")


def test_broken_files_are_refused(tmp_path: Path, refuses: Any) -> None:
    np.savez_compressed(tmp_path / "whole.npz", x=np.arange(1000))
    content = (tmp_path / "whole.npz").read_bytes()
    for name, data in {"cut": content[:100], "text": b"not arrays", "empty": b""}.items():
        (tmp_path / f"{name}.npz").write_bytes(data)
        with refuses("D001"):
            load_npz(tmp_path / f"{name}.npz")
    damaged = bytearray(content)
    damaged[60:80] = b"\0" * 20
    (tmp_path / "damaged.npz").write_bytes(damaged)
    with refuses("D001"):
        load_npz(tmp_path / "damaged.npz")


def test_mixed_up_suffixes(tmp_path: Path, refuses: Any) -> None:
    with (tmp_path / "one.npz").open("wb") as stream:
        np.save(stream, np.arange(3))
    with (tmp_path / "many.npy").open("wb") as stream:
        np.savez(stream, x=np.arange(3))
    with refuses("D001", "name it .npy"):
        load_npz(tmp_path / "one.npz")
    with refuses("D001", "name it .npz"):
        load_npy(tmp_path / "many.npy")


def test_missing_file_names_a_neighbour(tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "calib.npz").touch()
    with refuses("D001", "no such file", "`calib.npz`"):
        require(tmp_path / "calibb.npz")
    np.savez(tmp_path / "b.npz", images=np.zeros(2))
    with refuses("D001", "no array `image`", "`images`"):
        load_npz(tmp_path / "b.npz", ["image"])


def test_npz_picks_arrays_by_the_models_inputs(tmp_path: Path, spec: Any) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.ones((3, 2)), extra=np.zeros(1))
    bound = NpzSource(tmp_path / "a.npz").bind([spec("x", "N", 2), spec("y", "N", 2)])
    assert [sorted(sample.arrays) for sample in bound] == [["x", "y"]] * 3
    np.savez(tmp_path / "b.npz", only=np.zeros((3, 2)), labels=np.arange(3))
    source = NpzSource(tmp_path / "b.npz", labels="labels").bind([spec("x", "N", 2)])
    assert [(*sample.arrays, sample.label) for sample in source] == [(UNNAMED, 0), (UNNAMED, 1), (UNNAMED, 2)]


def test_npy_is_memory_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    assert isinstance(load_npy(tmp_path / "a.npy"), np.memmap)
    folder = NpyFolderSource((tmp_path / "a.npy",) * 2, (5, 6))
    assert [sample.label for sample in folder.samples(1)] == [6]
