"""Quantization schemes: how a real number becomes an integer, as ONNX's QuantizeLinear defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Below this, neighbours among 16-bit floats are more than a sixteenth of themselves apart.
_SMALLEST_HALF = 2.0**-20
# A range narrower than this has no useful scale: its quantum would be a subnormal float32.
SMALLEST_RANGE = 1e-30


@dataclass(frozen=True)
class Range:
    """The interval of real values that a quantized tensor represents, or one for each channel as arrays.

    Both ends are finite and zero lies inside, so that padding and ReLU's zero are exact.
    """

    minimum: float | np.ndarray
    maximum: float | np.ndarray

    @property
    def largest(self) -> float | np.ndarray:
        """The larger magnitude of the two ends."""
        return np.maximum(np.negative(self.minimum), self.maximum)


@dataclass(frozen=True)
class QuantParams:
    """Scale (float32) and zero point (of the quantized dtype), scalars or of shape (channels,), and their axis."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    def broadcast(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero point shaped to combine with a tensor of `rank` dimensions."""
        if self.axis is None:
            return self.scale, self.zero_point
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


@dataclass(frozen=True)
class Scheme:
    """An integer type and how it is used.

    `symmetric` puts the zero point in the middle of the type (0 for signed ones). `axis` gives each index along that
    axis its own scale. `narrow` leaves out the lowest value of a signed type, as weights do: int8 is then -127..127.
    `bits` uses fewer bits than the type has (None: all of them). `half_scales` are scales that 16-bit floats hold,
    rounded up; the smallest ones stay as they are.
    """

    dtype: np.dtype
    symmetric: bool = False
    axis: int | None = None
    narrow: bool = False
    bits: int | None = None
    half_scales: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def lowest(self) -> int:
        """The smallest integer in use."""
        if np.iinfo(self.dtype).min == 0:
            return 0
        return -self.highest - (0 if self.narrow else 1)

    @property
    def highest(self) -> int:
        """The largest integer in use."""
        info = np.iinfo(self.dtype)
        return int(info.max) >> (info.bits - (self.bits or info.bits))

    @property
    def steps(self) -> int:
        """How many quanta lie between the lowest and the highest integer."""
        return self.highest - self.lowest

    @property
    def middle(self) -> int:
        """The zero point of a symmetric scheme: 0, or 128 for uint8."""
        return 0 if np.iinfo(self.dtype).min < 0 else (self.highest + 1) // 2

    def quantization(self, interval: Range) -> QuantParams:
        """Scale and zero point that represent `interval`, widened to hold zero and to have a positive width."""
        low = np.minimum(np.asarray(interval.minimum, np.float64), 0.0)
        high = np.maximum(np.asarray(interval.maximum, np.float64), 0.0)
        if self.symmetric:
            reach = min(self.highest - self.middle, self.middle - self.lowest)
            scale = self._scale(np.maximum(-low, high), reach)
            zero_point = np.full(scale.shape, self.middle)
        else:
            scale = self._scale(high - low, self.steps)
            zero_point = np.clip(np.rint(self.lowest - low / scale), self.lowest, self.highest)
        return QuantParams(scale, zero_point.astype(self.dtype), self.axis)

    def _scale(self, width: np.ndarray, steps: int) -> np.ndarray:
        usable = np.where(width < SMALLEST_RANGE, 1.0, width)
        scale: np.ndarray = (usable / steps).astype(np.float32)
        return _in_half(scale) if self.half_scales else scale

    def range(self, params: QuantParams) -> Range:
        """The interval that scale and zero point really represent."""
        scale, zero_point = params.scale.astype(np.float64), params.zero_point.astype(np.float64)
        return Range((self.lowest - zero_point) * scale, (self.highest - zero_point) * scale)

    def quantize(self, values: np.ndarray, params: QuantParams) -> np.ndarray:
        """Integers of `dtype`: round(values / scale) + zero point, halves to even, saturated (ONNX QuantizeLinear)."""
        scale, zero_point = params.broadcast(values.ndim)
        # ONNX divides in float32; int32 biases, which it does not quantize, need more digits than that
        precision = np.float32 if self.dtype.itemsize < 4 else np.float64
        integers = np.rint(values.astype(precision) / scale).astype(np.float64) + zero_point.astype(np.float64)
        return np.asarray(np.clip(integers, self.lowest, self.highest).astype(self.dtype))

    def dequantize(self, integers: np.ndarray, params: QuantParams) -> np.ndarray:
        """Real values (float32): (integers - zero point) * scale (ONNX DequantizeLinear)."""
        scale, zero_point = params.broadcast(integers.ndim)
        return np.asarray((integers.astype(np.int64) - zero_point.astype(np.int64)).astype(np.float32) * scale)

    def of_weights(self, weights: np.ndarray) -> QuantParams:
        """Scale and zero point that hold every value of `weights`, for each channel along `axis` if there is one."""
        if weights.size == 0:
            return self.quantization(Range(0.0, 0.0))
        if self.axis is None:
            return self.quantization(Range(float(weights.min()), float(weights.max())))
        others = tuple(axis for axis in range(weights.ndim) if axis != self.axis % weights.ndim)
        return self.quantization(Range(weights.min(axis=others), weights.max(axis=others)))


def _in_half(scale: np.ndarray) -> np.ndarray:
    """Scales rounded up to 16-bit floats, where those are close enough."""
    with np.errstate(over="ignore"):
        half = scale.astype(np.float16)
    up = np.where(half.astype(np.float32) < scale, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)
    return np.where((scale < _SMALLEST_HALF) | ~np.isfinite(up), scale, up).astype(np.float32)
