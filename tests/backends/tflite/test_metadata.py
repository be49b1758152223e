"""The metadata, read back field by field as its schema numbers them, and the files that are packed with a model."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruna_ir.data.preprocess import Preprocessing

pytest.importorskip("ai_edge_litert")

import flatbuffers
from flatbuffers import number_types as types

from pruna_ir.backends.tflite.metadata import Described, Normalization, append, metadata


class Table:
    """A table of a flatbuffer, read by the numbers of its fields."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table: Any = flatbuffers.table.Table(content, position)

    @classmethod
    def root(cls, content: bytes) -> Table:
        return cls(content, flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0))

    def _at(self, field: int) -> int:
        offset = self._table.Offset(4 + 2 * field)
        return int(self._table.Pos + offset) if offset else 0

    def text(self, field: int) -> str:
        place = self._at(field)
        return self._table.String(place).decode() if place else ""

    def byte(self, field: int) -> int:
        place = self._at(field)
        return int(self._table.Get(types.Uint8Flags, place)) if place else 0

    def table(self, field: int) -> Table:
        return Table(self._table.Bytes, self._table.Indirect(self._at(field)))

    def tables(self, field: int) -> list[Table]:
        if not self._at(field):
            return []
        offset = self._table.Offset(4 + 2 * field)
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        return [Table(self._table.Bytes, self._table.Indirect(start + 4 * index)) for index in range(length)]

    def floats(self, field: int) -> list[float]:
        offset = self._table.Offset(4 + 2 * field)
        return [float(value) for value in self._table.GetVectorAsNumpy(types.Float32Flags, offset)]


IMAGE = Described("image", "channels in the order RGB", 3, Normalization((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
SCORES = Described("scores", labels={"labels.txt": b"cat\ndog\n"})


@pytest.fixture
def root() -> Table:
    content = metadata("net", "what it does", [IMAGE], [SCORES], "v1")
    assert content[4:8] == b"M001"
    return Table.root(content)


def test_the_model(root: Table) -> None:
    assert [root.text(field) for field in (0, 1, 2, 7)] == ["net", "what it does", "v1", "1.0.0"]


def test_an_image_with_its_normalisation(root: Table) -> None:
    (image,) = root.tables(3)[0].tables(2)
    assert (image.text(0), image.text(1)) == ("image", "channels in the order RGB")
    content = image.table(3)
    assert content.byte(0) == 2 and content.table(1).byte(0) == 1  # an image, RGB
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1 and unit.table(1).floats(0) == [1, 2, 3] and unit.table(1).floats(1) == [4, 5, 6]


def test_scores_with_the_file_of_their_labels(root: Table) -> None:
    (scores,) = root.tables(3)[0].tables(3)
    assert scores.text(0) == "scores" and scores.table(3).byte(0) == 1 and not scores.tables(4)
    (labels,) = scores.tables(6)
    assert labels.text(0) == "labels.txt" and labels.byte(2) == 2  # labels of an axis


def test_normalisation_is_in_units_of_pixels() -> None:
    preprocessing = Preprocessing(scale=1 / 255, mean=(0.485, 0.5), std=(0.25,))
    found = Normalization.of(preprocessing)
    pixels = np.array([0.0, 100.0, 255.0])
    expected = (pixels * preprocessing.scale - 0.485) / 0.25
    np.testing.assert_allclose((pixels - found.mean[0]) / found.std[0], expected, rtol=1e-6)


def test_packed_files_are_a_zip_behind_the_model(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"model" * 100)
        append(path, {})
        assert path.read_bytes() == b"model" * 100
        append(path, {"labels.txt": b"cat\ndog\n"})
    archive = zipfile.ZipFile(paths[0])
    assert archive.read("labels.txt") == b"cat\ndog\n"
    assert archive.getinfo("labels.txt").compress_type == zipfile.ZIP_STORED
    first, second = (path.read_bytes() for path in paths)
    assert first == second and first.startswith(b"model" * 100)
