"""The range with the least mean squared quantization error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.scheme import Range, Scheme

# Clipping points tried: 1 down to 2^-8 of each end of the range, then closer and closer around the best.
_FRACTIONS = 2.0 ** np.linspace(0, -8, 17)
_COARSER = 8
# Of the points tried, so many are looked at again without the coarser intervals, which blur peaks.
_SECOND_LOOKS = 8
_FINE_POINTS = 9
_FINE_SPREADS = (1.35, 1.12, 1.04, 1.015, 1.006)
# Points that stand for an interval where a function comes behind: as many as keep them this share of all values apart.
_SPACING = 1 / 512
_MOST_POINTS = 16
# Below this width, in quanta, an interval is a point: the difference of its ends' integrals would be rounding noise.
_POINT = 1e-3

# What becomes of a tensor's values: applied to an array of any shape, element by element.
Function = Callable[[np.ndarray], np.ndarray]


def expected_error(
    distribution: Distribution, scheme: Scheme, lows: np.ndarray, highs: np.ndarray, behind: Function | None = None
) -> np.ndarray:
    """Mean squared error of quantizing the distribution with each range: shape of `lows` and `highs`, (ranges,).

    Exact for values spread evenly inside their intervals: rounding inside the range and clipping outside are
    integrated in closed form, with the scale and the rounded zero point that the scheme would really use. With
    `behind`, the error is that of the function's results.
    """
    if behind is not None:
        return _error_behind(behind, distribution, scheme, lows, highs)
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


def _error_behind(
    behind: Function, distribution: Distribution, scheme: Scheme, lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """The error of a function's results, summed over points that stand for the intervals."""
    params = scheme.quantization(Range(lows, highs))
    represented = scheme.range(params)
    points, weight = _points(distribution)
    step = params.scale.astype(np.float64)[:, None]
    bottom, top = np.asarray(represented.minimum)[:, None], np.asarray(represented.maximum)[:, None]
    nearest = np.clip(np.rint(points / step) * step, bottom, top)
    return np.asarray(np.square(behind(nearest) - behind(points)) @ weight / max(distribution.total, 1.0))


def _points(distribution: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Values that stand for the distribution, and their weights: the more of an interval, the wider it is."""
    width = distribution.high - distribution.low
    spacing = (distribution.maximum - min(distribution.minimum, 0.0)) * _SPACING
    with np.errstate(over="ignore"):
        wanted = width / max(spacing, float(np.finfo(np.float32).tiny))
    counts = np.clip(np.ceil(wanted), 1, _MOST_POINTS).astype(int)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    place = (np.arange(len(first)) - first + 0.5) / np.repeat(counts, counts)
    points = np.repeat(distribution.low, counts) + place * np.repeat(width, counts)
    return points, np.repeat(distribution.weight / counts, counts)


def _rounding(position: np.ndarray) -> np.ndarray:
    """The integral from 0 to `position` (in quanta) of the squared distance to the nearest integer."""
    nearest = np.rint(position)
    return np.asarray(nearest / 12 + (position - nearest) ** 3 / 3)


def solve(distribution: Distribution, scheme: Scheme, behind: Function | None = None) -> Range:
    """Search both ends of the range (one magnitude if the scheme is symmetric) for the least expected error."""
    if scheme.symmetric:
        if behind is not None:
            return _search_magnitude(distribution, scheme, behind)
        low, high = _search(distribution.magnitudes, scheme, (0.0, distribution.largest))
        return Range(-high, high)
    limits = (min(distribution.minimum, 0.0), max(distribution.maximum, 0.0))
    low, high = _search(distribution, scheme, limits, behind)
    return Range(low, high)


def _search_magnitude(distribution: Distribution, scheme: Scheme, behind: Function) -> Range:
    """Both ends move together, and the two signs are not the same to the function."""
    sizes = distribution.largest * _FRACTIONS
    best = sizes[_best(distribution, scheme, -sizes, sizes, behind)]
    for spread in _FINE_SPREADS:
        sizes = np.minimum(best * spread ** np.linspace(-1, 1, _FINE_POINTS), distribution.largest)
        best = sizes[np.argmin(expected_error(distribution, scheme, -sizes, sizes, behind))]
    return Range(-float(best), float(best))


def _search(
    distribution: Distribution, scheme: Scheme, limits: tuple[float, float], behind: Function | None = None
) -> tuple[float, float]:
    """The best of a grid of fractions of both limits, then one end at a time in ever smaller neighbourhoods.

    Behind a function that is constant on one side of zero, nothing of that side need be represented.
    """
    fractions = _FRACTIONS if behind is None else np.append(_FRACTIONS, 0.0)
    lows = limits[0] * fractions if limits[0] < 0 else np.zeros(1)
    highs = limits[1] * fractions if limits[1] > 0 else np.zeros(1)
    grid = [axis.reshape(-1) for axis in np.meshgrid(lows, highs, indexing="ij")]
    best = _best(distribution, scheme, grid[0], grid[1], behind)
    low, high = float(grid[0][best]), float(grid[1][best])
    for spread in _FINE_SPREADS:
        around = spread ** np.linspace(-1, 1, _FINE_POINTS)
        if high > 0:
            highs = np.minimum(high * around, limits[1])
            errors = expected_error(distribution, scheme, np.full(highs.shape, low), highs, behind)
            high = float(highs[np.argmin(errors)])
        if low < 0:
            lows = np.maximum(low * around, limits[0])
            errors = expected_error(distribution, scheme, lows, np.full(lows.shape, high), behind)
            low = float(lows[np.argmin(errors)])
    return low, high


def _best(
    distribution: Distribution, scheme: Scheme, lows: np.ndarray, highs: np.ndarray, behind: Function | None
) -> int:
    """The number of the range with the least expected error, of many."""
    rough = expected_error(distribution.coarser(_COARSER), scheme, lows, highs, behind)
    likely = np.argsort(rough, kind="stable")[:_SECOND_LOOKS]
    return int(likely[np.argmin(expected_error(distribution, scheme, lows[likely], highs[likely], behind))])
