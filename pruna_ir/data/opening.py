"""From the description of a split to its source: which reader a path needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.data.description import SplitDescription
from pruna_ir.data.files import NpyFolderSource, NpySource, NpzSource, load_npy, require
from pruna_ir.data.images import SUFFIXES, ImageSource
from pruna_ir.data.labels import read_coco, read_csv
from pruna_ir.data.sources import UNNAMED, Source
from pruna_ir.diagnostics import error


def check_paths(split: SplitDescription) -> None:
    """D001 when a file or folder that the split names is missing. Nothing is opened."""
    require(split.source, split.place)
    if split.annotations is not None:
        require(split.annotations, split.place)
    if split.labels is not None and split.source.suffix != ".npz":
        require(split.folder / split.labels, split.place)


def open_source(split: SplitDescription) -> Source:
    """The samples and labels of a split. Raises D001, D002 (keys that do not go with the source), D005, D006, D007."""
    path = split.source
    archive = path.suffix == ".npz"
    if (split.array or split.arrays) and not archive:
        raise error("D002", "`array` and `arrays` choose from a .npz file", place=split.place)
    if split.annotations is not None and not path.is_dir():
        raise error("D002", "`annotations` go with a folder of images", place=split.place)
    if archive:
        arrays = split.arrays or ({UNNAMED: split.array} if split.array else None)
        return NpzSource(path, arrays, split.labels)
    if path.is_dir():
        return _open_folder(split)
    if path.suffix == ".npy":
        return NpySource(path, _label_array(split) if split.labels else None)
    forms = "a .npz or .npy file, or a folder of images or of .npy files"
    raise error("D001", f"`{path}` is not a source of samples", place=split.place, help=f"a source is {forms}")


def is_image_folder(path: Path) -> bool:
    """Whether a folder holds images (and not .npy files)."""
    return path.is_dir() and not any(entry.suffix == ".npy" for entry in path.iterdir())


def _open_folder(split: SplitDescription) -> Source:
    folder = split.source
    labels: dict[str, Any] | None = None
    if split.annotations is not None:
        labels = dict(read_coco(split.annotations))
    elif split.labels is not None:
        labels = dict(read_csv(split.folder / split.labels))
    if labels is None:
        suffixes = SUFFIXES if is_image_folder(folder) else (".npy",)
        paths = tuple(sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in suffixes))
    else:
        paths = tuple(require(folder / name, split.annotations or split.labels or "") for name in labels)
    if not paths:
        raise error("D005", "the folder holds no samples", place=folder)
    values = tuple(labels.values()) if labels is not None else None
    return NpyFolderSource(paths, values) if paths[0].suffix == ".npy" else ImageSource(paths, values)


def _label_array(split: SplitDescription) -> np.ndarray:
    path = split.folder / (split.labels or "")
    if path.suffix != ".npy":
        raise error("D007", "the labels of a .npy file are another .npy file", place=split.place)
    return load_npy(path)
