"""What a Resize does along its axes, as ONNX defines it: where each result comes from, with which weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pruna_ir.backends.node_view import NodeView
from pruna_ir.backends.unsupported import Unsupported

_HALF = np.float32(0.5)


@dataclass(frozen=True)
class Resampling:
    """Attributes of a Resize, and one axis of it: `scale` is that of the node, not the ratio of the sizes."""

    mode: str
    coordinates: str
    rounding: str
    before: int
    after: int
    scale: float
    cubic: float = -0.75
    exclude_outside: bool = False
    start: float = 0.0
    end: float = 1.0

    def places(self) -> np.ndarray:
        """The coordinate in the source of every result, in float32: rounding decides where one falls on a border."""
        return _COORDINATES[self.coordinates](self, np.arange(self.after, dtype=np.float32))

    def indices(self) -> np.ndarray:
        """The source of every result of mode `nearest`."""
        places = _ROUNDINGS[self.rounding](self.places())
        return np.asarray(np.clip(places, 0, self.before - 1), np.int64)

    def matrix(self) -> np.ndarray:
        """The weights of all sources (columns) for every result (rows)."""
        result = np.zeros((self.after, self.before))
        if self.mode == "nearest":
            result[np.arange(self.after), self.indices()] = 1.0
            return result
        if self.mode in _FILTERS:
            return self._filtered(result)
        for row, place in enumerate(self.places().tolist()):
            for source, weight in self._neighbours(place):
                result[row, source] += weight
        return result

    def _filtered(self, result: np.ndarray) -> np.ndarray:
        """Fill in weights of a filter that is as wide as a result is in the source (antialiasing).

        What lies outside of the image counts for its border, or not at all.
        """
        radius, filter_of = _FILTERS[self.mode]
        shrink = min(self.scale, 1.0)
        for row, place in enumerate(self.places().astype(np.float64) + 0.5):
            sources = np.arange(np.floor(place - radius / shrink + 0.5), np.floor(place + radius / shrink + 0.5))
            weights = filter_of(np.abs((sources - place + 0.5) * shrink), self.cubic)
            if self.exclude_outside:
                weights = np.where((sources >= 0) & (sources < self.before), weights, 0.0)
            np.add.at(result[row], np.clip(sources, 0, self.before - 1).astype(np.int64), weights / weights.sum())
        return result

    def _neighbours(self, place: float) -> list[tuple[int, float]]:
        if self.mode == "linear":
            place = min(max(place, 0.0), self.before - 1.0)
        low = int(np.floor(place))
        fraction = place - low
        if self.mode == "linear":
            return [(low, 1.0 - fraction), (min(low + 1, self.before - 1), fraction)]
        weights = _cubic(fraction, self.cubic)
        sources = range(low - 1, low + 3)
        if self.exclude_outside:
            weights = [w if 0 <= s < self.before else 0.0 for w, s in zip(weights, sources, strict=True)]
            weights = [w / sum(weights) for w in weights]
        return [(min(max(s, 0), self.before - 1), w) for s, w in zip(sources, weights, strict=True)]


def resamplings(op: NodeView) -> list[Resampling]:
    """What a Resize or Upsample does along each axis; Unsupported where that is no sum of its own axis's values."""
    before, after = op.shape(), op.result_shape()
    rank = len(before)
    chosen = [axis % rank for axis in op.attr("axes", range(rank))]
    scales = _scales(op, before, after, chosen)
    coordinates = op.attr("coordinate_transformation_mode", "half_pixel" if op.node.op == "Resize" else "asymmetric")
    roi = op.required(1, "region") if coordinates == "tf_crop_and_resize" else None
    starts, ends = np.zeros(rank), np.ones(rank)
    if roi is not None and roi.size == 2 * len(chosen):
        starts[chosen], ends[chosen] = roi[: len(chosen)], roi[len(chosen) :]
    mode = op.attr("mode", "nearest")
    if op.attr("antialias", 0) and any(scale < 1 for scale in scales):
        mode = f"antialiased {mode}"
    found = [
        Resampling(
            mode,
            coordinates,
            op.attr("nearest_mode", "round_prefer_floor" if op.node.op == "Resize" else "floor"),
            before[axis],
            after[axis],
            scales[axis],
            op.attr("cubic_coeff_a", -0.75),
            bool(op.attr("exclude_outside", 0)),
            float(starts[axis]),
            float(ends[axis]),
        )
        for axis in range(rank)
    ]
    if coordinates == "tf_crop_and_resize" and any(_leaves(item) for item in found):
        raise Unsupported("it samples outside of the image")
    return found


def _leaves(axis: Resampling) -> bool:
    places = axis.places()
    return bool((places < 0).any() or (places > axis.before - 1).any())


def _scales(op: NodeView, before: tuple[int, ...], after: tuple[int, ...], chosen: list[int]) -> list[float]:
    """The scale of every axis: as given, or the ratio of the sizes."""
    position = 2 if op.node.op == "Resize" else 1
    ratios = [b / a if a else 1.0 for a, b in zip(before, after, strict=True)]
    given = op.required(position, "list of scales") if op.has(position) else None
    if given is not None and given.size == len(chosen):
        for axis, scale in zip(chosen, given.tolist(), strict=True):
            ratios[axis] = scale
    return ratios


def _triangle(distance: np.ndarray, _: float) -> np.ndarray:
    return np.maximum(1.0 - distance, 0.0)


def _cubic_filter(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution by distance."""
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


# Filters that antialiasing stretches, and how far they reach.
_FILTERS: dict[str, tuple[float, Callable[[np.ndarray, float], np.ndarray]]] = {
    "antialiased linear": (1.0, _triangle),
    "antialiased cubic": (2.0, _cubic_filter),
}


def _cubic(t: float, a: float) -> list[float]:
    """Weights of four neighbours by Keys' cubic convolution."""
    return [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    ]


def _half_pixel(axis: Resampling, x: np.ndarray) -> np.ndarray:
    return np.asarray((x + _HALF) / np.float32(axis.scale) - _HALF)


def _pytorch_half_pixel(axis: Resampling, x: np.ndarray) -> np.ndarray:
    return _half_pixel(axis, x) if axis.after > 1 else np.zeros(axis.after)


def _symmetric(axis: Resampling, x: np.ndarray) -> np.ndarray:
    scale = float(np.float32(axis.scale))
    shift = axis.before / 2 * (1 - axis.after / (scale * axis.before))
    return np.asarray(shift + (x + 0.5).astype(np.float64) / scale - 0.5)


def _align_corners(axis: Resampling, x: np.ndarray) -> np.ndarray:
    return x * (axis.before - 1) / (axis.after - 1) if axis.after > 1 else np.zeros(axis.after)


def _asymmetric(axis: Resampling, x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.float32(axis.scale))


def _crop(axis: Resampling, x: np.ndarray) -> np.ndarray:
    if axis.after == 1:
        return np.full(1, 0.5 * (axis.start + axis.end) * (axis.before - 1))
    span = (axis.end - axis.start) * (axis.before - 1) / (axis.after - 1)
    return axis.start * (axis.before - 1) + x * span


_COORDINATES: dict[str, Callable[[Resampling, np.ndarray], np.ndarray]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "tf_crop_and_resize": _crop,
}

_ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
