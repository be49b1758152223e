"""Weights as integers with a scale for each block of values that are summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

from pruna_ir.calibration.scheme import QuantParams, Scheme

# Integer types by bits and sign. Schemes count in bytes: types of 4 bits are made at the end.
_STORED: Mapping[tuple[int, bool], np.dtype] = {
    (8, True): np.dtype(np.int8),
    (8, False): np.dtype(np.uint8),
    (4, True): np.dtype(ml_dtypes.int4),
    (4, False): np.dtype(ml_dtypes.uint4),
}
# Fractions of the largest value that the end of a block's range is tried at: with few bits it pays to clip.
_CLIPPED = tuple(np.linspace(1.0, 0.7, 13))


@dataclass(frozen=True)
class Blocks:
    """A matrix [inputs, outputs] in integers.

    `scale` and `zero_point` (None where it is 0) have the shape [blocks, outputs], or [outputs] without blocks.
    """

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray | None
    size: int

    def restored(self) -> np.ndarray:
        """The float32 matrix that the integers stand for."""
        rows = np.arange(len(self.integers)) // self.size if self.size else None
        scale = self.scale if rows is None else self.scale[rows]
        shift = 0 if self.zero_point is None else self.zero_point.astype(np.float32)
        shift = shift if rows is None or self.zero_point is None else shift[rows]  # type: ignore[index]
        return np.asarray((self.integers.astype(np.float32) - shift) * scale)


def quantize_blocks(matrix: np.ndarray, bits: int, size: int, symmetric: bool) -> Blocks:
    """Round a matrix [inputs, outputs] to integers of 8 or 4 bits, with a scale for `size` inputs (0: all of them).

    With 4 bits each block's range is the fraction of the whole one that has the least squared error.
    """
    inputs, outputs = matrix.shape
    length = size or inputs
    count = -(-inputs // length)
    padded = np.zeros((count * length, outputs), np.float32)
    padded[:inputs] = matrix
    rows = padded.reshape(count, length, outputs).transpose(0, 2, 1).reshape(count * outputs, length)
    scheme = Scheme(np.dtype(np.int8 if symmetric else np.uint8), symmetric, axis=0, narrow=symmetric, bits=bits)
    params = scheme.of_weights(rows)
    if bits < 8:
        params = _clipped(rows, scheme, params)
    integers = scheme.quantize(rows, params).reshape(count, outputs, length).transpose(0, 2, 1)
    stored = _STORED[bits, symmetric]
    shape = (count, outputs) if size else (outputs,)
    zero_point = None if symmetric else params.zero_point.reshape(shape).astype(stored)
    kept = integers.reshape(-1, outputs)[:inputs].astype(stored)
    return Blocks(kept, params.scale.reshape(shape), zero_point, size)


def _clipped(rows: np.ndarray, scheme: Scheme, params: QuantParams) -> QuantParams:
    """The scale of each row that gives it the least squared error."""
    best, least = params.scale.copy(), np.full(len(rows), np.inf)
    for fraction in _CLIPPED:
        tried = replace(params, scale=(params.scale * np.float32(fraction)).astype(np.float32))
        error = np.square(scheme.dequantize(scheme.quantize(rows, tried), tried) - rows).sum(axis=1)
        best, least = np.where(error < least, tried.scale, best), np.minimum(error, least)
    return replace(params, scale=best)
