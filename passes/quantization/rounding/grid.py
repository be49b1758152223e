"""The grid that a weight matrix is rounded to, and its scales."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Fractions of the scale that holds a channel's largest weight which are tried.
FRACTIONS = np.linspace(1.0, 0.4, 25)


@dataclass(frozen=True)
class Grid:
    """The values scale * q with whole q from low to high: arrays that broadcast to [groups, outputs, width]."""

    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def nearest(self, weights: np.ndarray, columns: slice | int = slice(None)) -> np.ndarray:
        """The integers nearest to some columns of weights."""
        low, high = self.low[..., columns], self.high[..., columns]
        scale = self.scale[..., 0] if isinstance(columns, int) else self.scale
        return np.asarray(np.clip(np.rint(weights / scale), low, high))

    def values(self, integers: np.ndarray) -> np.ndarray:
        """The weights that integers stand for."""
        return np.asarray(integers * self.scale)

    def neighbours(self, weights: np.ndarray) -> Grid:
        """The grid with only the integer below and the one above each weight (those of AdaRound)."""
        low = np.clip(np.floor(weights / self.scale), self.low, self.high)
        return replace(self, low=low, high=np.clip(np.ceil(weights / self.scale), low, self.high))


def grid_of(weights: np.ndarray, scale: np.ndarray, highest: int) -> Grid:
    """The grid from -highest to highest, on which the largest weight of each channel keeps its end of the grid.

    Whoever looks for the scale of the rounded weights in their largest one then finds the same again. `scale` is
    [groups, outputs, 1], or [1, 1, 1] for all channels together.
    """
    size = np.abs(weights)
    largest = size.max(axis=-1, keepdims=True) if scale.size > 1 else size.max(keepdims=True)
    ends = (size == largest) & (size > 0)
    end = highest * np.sign(weights)
    return Grid(scale, np.where(ends, end, -highest), np.where(ends, end, highest))


def found_again(scale: np.ndarray, highest: int) -> np.ndarray:
    """Scales (float32), larger by a bit at most, that `Scheme.of_weights` finds again in weights of scale * highest."""
    scale = scale.astype(np.float32)
    while (lost := ((scale * np.float32(highest)).astype(np.float64) / highest).astype(np.float32) != scale).any():
        scale = np.where(lost, np.nextafter(scale, np.float32(np.inf)), scale)
    return scale


def best_scale(weights: np.ndarray, hessian: np.ndarray, scale: np.ndarray, highest: int) -> np.ndarray:
    """For each channel the fraction of `scale`, which holds all weights, at which the nearest integers err least.

    The error is that of the layer's outputs, (W - Q) H (W - Q)^T. A finer grid that clips a few large weights pays off
    with few bits.
    """
    best, least = scale, np.full(scale.shape, np.inf)
    for fraction in FRACTIONS:
        tried = scale * np.float32(fraction)
        gap = weights - tried * np.clip(np.rint(weights / tried), -highest, highest)
        wrong = ((gap @ hessian) * gap).sum(axis=-1, keepdims=True)
        wrong = wrong if scale.size > 1 else wrong.sum(keepdims=True)
        best, least = np.where(wrong < least, tried, best), np.minimum(wrong, least)
    return best
