"""From statistics to ranges: the methods by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from pruna_ir.calibration import entropy, mse
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.mse import Function, expected_error
from pruna_ir.calibration.record import Record
from pruna_ir.calibration.scheme import SMALLEST_RANGE, Range, Scheme
from pruna_ir.diagnostics import did_you_mean, error

METHODS = ("minmax", "percentile", "mse", "entropy", "auto")
DEFAULT_PERCENTILE = 99.99
_TRIED_PERCENTILES = (99.9, DEFAULT_PERCENTILE)
_PERCENTILE = re.compile(r"percentile(\d+(?:\.\d+)?)?")

Method = Callable[[Distribution, Scheme, Function | None], Range]


def solve(record: Record, scheme: Scheme, method: str = "minmax", behind: Function | None = None) -> Range:
    """The range that `method` chooses for a tensor.

    `minmax`, `percentile` (or `percentile99.9`) and `entropy` look at its values alone. `mse` and `auto`, which takes
    whichever of all of them has the least mean squared error, count the error `behind` a function where one is given:
    the activation function through which alone the tensor is read.

    Zero lies inside, and the range has a positive width even for a tensor that is all zero or was never seen. With a
    scheme that has an axis the ends are arrays of shape (channels,), which needs per-channel statistics. Raises P004
    for an unknown method, S001 if per-channel statistics are missing.
    """
    chosen = parse_method(method)
    if scheme.axis is None:
        return _widen(chosen(Distribution.of(record), scheme, behind))
    if record.channels is None:
        raise error("S001", "a range for each channel needs per-channel statistics, which were not collected")
    ranges = [_widen(chosen(channel, scheme, behind)) for channel in Distribution.of_channels(record)]
    return Range(np.array([part.minimum for part in ranges]), np.array([part.maximum for part in ranges]))


def parse_method(method: str) -> Method:
    """The function behind a method's name; raises P004 if there is none, or a percentile is not in (50, 100]."""
    if match := _PERCENTILE.fullmatch(method):
        percent = float(match.group(1) or DEFAULT_PERCENTILE)
        if not 50 < percent <= 100:
            raise error("P004", f"a percentile lies above 50 and up to 100, not at {percent:g}")
        return lambda distribution, scheme, _: percentile(distribution, scheme, percent)
    if method not in _KNOWN:
        raise error("P004", f"no range method is named `{method}`", help=did_you_mean(method, METHODS, "range method"))
    return _KNOWN[method]


def minmax(distribution: Distribution) -> Range:
    """The smallest and the largest value."""
    return Range(distribution.minimum, distribution.maximum)


def percentile(distribution: Distribution, scheme: Scheme, percent: float = DEFAULT_PERCENTILE) -> Range:
    """The range that holds `percent` of the values: half of the rest is cut at each end.

    A symmetric scheme takes the percentile of the magnitudes instead.
    """
    if scheme.symmetric:
        largest = distribution.magnitudes.quantile(percent / 100)
        return Range(-largest, largest)
    cut = (100 - percent) / 200
    return Range(distribution.quantile(cut), distribution.quantile(1 - cut))


def least_error(distribution: Distribution, scheme: Scheme, behind: Function | None = None) -> Range:
    """Of the ranges that the other methods choose, the one with the least expected error."""
    candidates = [
        mse.solve(distribution, scheme, behind),
        minmax(distribution),
        *(percentile(distribution, scheme, percent) for percent in _TRIED_PERCENTILES),
        entropy.solve(distribution, scheme),
    ]
    lows = np.array([float(candidate.minimum) for candidate in candidates])
    highs = np.array([float(candidate.maximum) for candidate in candidates])
    return candidates[int(np.argmin(expected_error(distribution, scheme, lows, highs, behind)))]


_KNOWN: dict[str, Method] = {
    "minmax": lambda distribution, scheme, behind: minmax(distribution),
    "mse": mse.solve,
    "entropy": lambda distribution, scheme, behind: entropy.solve(distribution, scheme),
    "auto": least_error,
}


def _widen(interval: Range) -> Range:
    low, high = min(float(interval.minimum), 0.0), max(float(interval.maximum), 0.0)
    return Range(low, high) if high - low >= SMALLEST_RANGE else Range(0.0, 1.0)
