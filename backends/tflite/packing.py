"""A flatbuffer builder that stores what is equal once, and aligns data as the schema wants it.

Per-channel scales come with as many zero points, which are all zero, and every weight and bias has them: written again
and again they would be a twentieth of a small quantized model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

# `force_align` of the schema for the data of buffers: kernels read it in vectors.
_DATA_ALIGNMENT = 16


class Data:
    """The data of a constant, as the schema's object of a buffer: written straight from where it lies."""

    def __init__(self, schema: Any, array: np.ndarray) -> None:
        self._schema, self._array = schema, array

    def Pack(self, builder: Any) -> int:  # noqa: N802 (what the schema's objects call it)
        """The offset of the buffer."""
        vector = builder.data(self._array)
        self._schema.BufferStart(builder)
        self._schema.BufferAddData(builder, vector)
        return int(self._schema.BufferEnd(builder))


class Shared:
    """An object of the schema that is packed once for each content; `key` tells contents apart."""

    def __init__(self, value: Any, key: Any) -> None:
        self.value, self.key = value, key

    def Pack(self, builder: Any) -> int:  # noqa: N802
        """The offset of the object in the buffer."""
        key = type(self.value), self.key
        if key not in builder.objects:
            builder.objects[key] = self.value.Pack(builder)
        return int(builder.objects[key])


@cache
def _builder_class() -> Any:
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Creates equal vectors once."""

        head: int

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.objects: dict[Any, int] = {}
            self._vectors: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
            key = x.dtype.str, x.tobytes()
            if key not in self._vectors:
                self._vectors[key] = int(super().CreateNumpyVector(x))
            return self._vectors[key]

        def data(self, array: np.ndarray) -> int:
            """The bytes of an array as a vector; it may lie in any order, and is not copied on the way."""
            self.StartVector(1, array.nbytes, _DATA_ALIGNMENT)
            self.head -= array.nbytes
            place = np.frombuffer(self.Bytes, array.dtype, array.size, self.head)
            place.reshape(array.shape)[...] = array
            return int(self.EndVector())

    return Builder


def builder(size: int) -> Any:
    """A builder with room for `size` bytes; it grows."""
    return _builder_class()(size)
