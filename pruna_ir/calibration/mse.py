"""The range with the least mean squared quantization error."""

from __future__ import annotations

import numpy as np

from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.scheme import Range, Scheme

# Clipping points tried: 1 down to 2^-8 of each end of the range, then closer and closer around the best.
_FRACTIONS = 2.0 ** np.linspace(0, -8, 17)
_COARSER = 8
_FINE_POINTS = 9
_FINE_SPREADS = (1.35, 1.12, 1.04, 1.015, 1.006)
# Below this width, in quanta, an interval is a point: the difference of its ends' integrals would be rounding noise.
_POINT = 1e-3


def expected_error(distribution: Distribution, scheme: Scheme, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """Mean squared error of quantizing the distribution with each range: shape of `lows` and `highs`, (ranges,).

    Exact for values spread evenly inside their intervals: rounding inside the range and clipping outside are
    integrated in closed form, with the scale and the rounded zero point that the scheme would really use.
    """
    params = scheme.quantization(Range(lows, highs))
    represented = scheme.range(params)
    step = params.scale.astype(np.float64)[:, None]
    bottom, top = np.asarray(represented.minimum)[:, None], np.asarray(represented.maximum)[:, None]
    low, high = distribution.low[None, :], distribution.high[None, :]
    middle, width = (low + high) / 2, high - low
    inside = _rounding(np.clip(high, bottom, top) / step) - _rounding(np.clip(low, bottom, top) / step)
    above = np.maximum(high - top, 0) ** 3 - np.maximum(low - top, 0) ** 3
    below = np.maximum(bottom - low, 0) ** 3 - np.maximum(bottom - high, 0) ** 3
    spread = (inside * step**3 + (above + below) / 3) / np.where(width > 0, width, 1)
    nearest = np.clip(np.rint(middle / step) * step, bottom, top)
    point = (middle - nearest) ** 2
    error = np.where(width > _POINT * step, spread, point)
    return np.asarray(error @ distribution.weight / max(distribution.total, 1.0))


def _rounding(position: np.ndarray) -> np.ndarray:
    """The integral from 0 to `position` (in quanta) of the squared distance to the nearest integer."""
    nearest = np.rint(position)
    return np.asarray(nearest / 12 + (position - nearest) ** 3 / 3)


def solve(distribution: Distribution, scheme: Scheme) -> Range:
    """Search both ends of the range (one magnitude if the scheme is symmetric) for the least expected error."""
    if scheme.symmetric:
        low, high = _search(distribution.magnitudes, scheme, (0.0, distribution.largest))
        return Range(-high, high)
    low, high = _search(distribution, scheme, (min(distribution.minimum, 0.0), max(distribution.maximum, 0.0)))
    return Range(low, high)


def _search(distribution: Distribution, scheme: Scheme, limits: tuple[float, float]) -> tuple[float, float]:
    """The best of a grid of fractions of both limits, then one end at a time in ever smaller neighbourhoods."""
    lows = limits[0] * _FRACTIONS if limits[0] < 0 else np.zeros(1)
    highs = limits[1] * _FRACTIONS if limits[1] > 0 else np.zeros(1)
    grid = [axis.reshape(-1) for axis in np.meshgrid(lows, highs, indexing="ij")]
    best = int(np.argmin(expected_error(distribution.coarser(_COARSER), scheme, grid[0], grid[1])))
    low, high = float(grid[0][best]), float(grid[1][best])
    for spread in _FINE_SPREADS:
        around = spread ** np.linspace(-1, 1, _FINE_POINTS)
        if high > 0:
            highs = np.minimum(high * around, limits[1])
            high = float(highs[np.argmin(expected_error(distribution, scheme, np.full(highs.shape, low), highs))])
        if low < 0:
            lows = np.maximum(low * around, limits[0])
            low = float(lows[np.argmin(expected_error(distribution, scheme, lows, np.full(lows.shape, high)))])
    return low, high
