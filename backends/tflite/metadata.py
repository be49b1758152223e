"""The metadata that Android Studio, the code generators and MediaPipe read: names, labels, normalisation.

A flatbuffer of its own (file identifier M001) under the name TFLITE_METADATA; files that belong to it are a zip archive
behind the model, uncompressed, so that they can be read in place. The tables are those of `metadata_schema.fbs` of
TensorFlow Lite Support and MediaPipe, of which the runtime's package holds no Python form.
https://ai.google.dev/edge/litert/models/metadata
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pruna_ir.data.preprocess import Preprocessing

ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
# The least version of a parser that knows every field that is written here.
_PARSER = "1.0.0"
_RGB, _GRAYSCALE = 1, 2
_FEATURE, _IMAGE = 1, 2
_NORMALIZATION = 1
_AXIS_LABELS = 2


@dataclass(frozen=True)
class Normalization:
    """What happens to the values that the user has, one number or one a channel: (x - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def of(preprocessing: Preprocessing) -> Normalization:
        """That of a dataset, (x * scale - mean) / std, for pixels from 0 to 255."""
        scale = preprocessing.scale
        return Normalization(*(tuple(v / scale for v in values) for values in (preprocessing.mean, preprocessing.std)))


@dataclass(frozen=True)
class Described:
    """An input or output.

    `channels` of an image are 1 or 3, of anything else 0. `labels` are the names of the indices of the last axis, one a
    line, by the name of the file that they are packed as.
    """

    name: str
    description: str = ""
    channels: int = 0
    normalization: Normalization | None = None
    labels: Mapping[str, bytes] | None = None


def metadata(
    name: str, description: str, inputs: Sequence[Described], outputs: Sequence[Described], version: str = ""
) -> bytes:
    """The flatbuffer, for inputs and outputs in the order of the file's."""
    writer = _Tables()
    sides = [writer.vector([_tensor(writer, item) for item in side]) for side in (inputs, outputs)]
    graph = writer.table(7, {2: sides[0], 3: sides[1]})
    fields = {0: writer.text(name), 1: writer.text(description), 3: writer.vector([graph]), 7: writer.text(_PARSER)}
    if version:
        fields[2] = writer.text(version)
    writer.builder.Finish(writer.table(8, fields), file_identifier=_IDENTIFIER)
    return bytes(writer.builder.Output())


def append(path: Path, files: Mapping[str, bytes]) -> None:
    """Pack the files that belong to a model behind it."""
    if not files:
        return
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # A fixed date: equal models are equal files.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def _tensor(writer: _Tables, item: Described) -> int:
    fields = {0: writer.text(item.name), 3: _content(writer, item.channels)}
    if item.description:
        fields[1] = writer.text(item.description)
    if item.normalization is not None:
        values = (item.normalization.mean, item.normalization.std)
        options = writer.table(2, {slot: writer.floats(numbers) for slot, numbers in enumerate(values)})
        fields[4] = writer.vector([writer.union(2, 0, _NORMALIZATION, options)])
    if item.labels:
        files = [writer.table(4, {0: writer.text(name)}, {2: _AXIS_LABELS}) for name in item.labels]
        fields[6] = writer.vector(files)
    return writer.table(7, fields)


def _content(writer: _Tables, channels: int) -> int:
    if not channels:
        return writer.union(3, 0, _FEATURE, writer.table(0, {}))
    image = writer.table(2, {}, {0: _RGB if channels == 3 else _GRAYSCALE})
    return writer.union(3, 0, _IMAGE, image)


class _Tables:
    """Tables by the numbers of their fields, children first: what generated code would do."""

    def __init__(self) -> None:
        import flatbuffers

        self.builder: Any = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self.builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(values, np.float32)))

    def vector(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def table(self, size: int, fields: Mapping[int, int], numbers: Mapping[int, int] | None = None) -> int:
        """A table with `size` fields: `fields` are offsets of what was written before, `numbers` single bytes."""
        self.builder.StartObject(size)
        for slot, offset in fields.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in (numbers or {}).items():
            self.builder.PrependInt8Slot(slot, number, 0)
        return int(self.builder.EndObject())

    def union(self, size: int, slot: int, kind: int, value: int) -> int:
        """A table with a union at `slot`: a byte says which table it is, the next field holds it."""
        return self.table(size, {slot + 1: value}, {slot: kind})
