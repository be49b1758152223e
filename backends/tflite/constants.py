"""Constants of a program, each of which is stored once."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.tflite.program import Quantization, Tensor

# Elements of an array that are looked at before it is compared with others.
_SAMPLE = 256


class Constants:
    """Constant tensors by their content.

    Arrays may be views that lie in another order than they say: they are brought in order when they are written.
    """

    def __init__(self) -> None:
        self._known: dict[Any, list[Tensor]] = {}

    def find(self, array: np.ndarray, quantization: Quantization | None) -> Tensor | None:
        """The tensor that holds the same bits in the same shape, with the same scale."""
        for tensor in self._known.get(_key(array, quantization), []):
            if tensor.data is not None and _same_bits(tensor.data, array):
                return tensor
        return None

    def add(self, tensor: Tensor) -> None:
        """Remember a tensor."""
        assert tensor.data is not None
        self._known.setdefault(_key(tensor.data, tensor.quantization), []).append(tensor)


def _key(array: np.ndarray, quantization: Quantization | None) -> Any:
    """What equal constants have in common, and few others: a few elements are enough, equality is checked."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / max(array.ndim, 1))))
    sample = array[(slice(None, None, step),) * array.ndim].tobytes()
    scales = None if quantization is None else (quantization.scale.tobytes(), quantization.zero_point.tobytes())
    return array.dtype.str, array.shape, sample, scales, None if quantization is None else quantization.axis


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one is other or np.array_equal(_bits(one), _bits(other))


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
