"""The range with the least information lost: Kullback-Leibler divergence, as TensorRT's calibrator defines it.

Migacz, "8-bit inference with TensorRT" (GTC 2017): of the distribution of magnitudes, compare what clipping at each
threshold leaves (with the clipped values in the last bin) to the same in as few levels as the integers have.
"""

from __future__ import annotations

import numpy as np

from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.scheme import Range, Scheme

_BINS_PER_LEVEL = 16
_CANDIDATES = 240
# With more levels than this, quantization loses no information that a histogram could show.
_MOST_LEVELS = 256
_NEARLY_ALL = 0.9999
_ZOOM = 0.25
_SMOOTHING = 1e-4


def solve(distribution: Distribution, scheme: Scheme) -> Range:
    """Clip magnitudes at the threshold of least divergence; the result lies inside the observed range."""
    one_sided = not scheme.symmetric and (distribution.minimum >= 0 or distribution.maximum <= 0)
    levels = scheme.steps + 1 if one_sided else (scheme.steps + 1) // 2
    if levels > _MOST_LEVELS or not len(distribution.weight):
        return Range(min(distribution.minimum, 0.0), max(distribution.maximum, 0.0))
    clip = threshold(distribution.magnitudes, levels)
    return Range(max(min(distribution.minimum, 0.0), -clip), min(max(distribution.maximum, 0.0), clip))


def threshold(magnitudes: Distribution, levels: int) -> float:
    """The best clipping point for a distribution of magnitudes.

    The histogram is linear over all magnitudes. If nearly everything, or the best candidate, lies at its lower end, an
    outlier has stretched it so far that the rest has no resolution, and it is drawn again closer to that end.
    """
    top = magnitudes.maximum
    bins = levels * _BINS_PER_LEVEL
    ends = np.unique(np.linspace(levels, bins, _CANDIDATES).astype(int))
    while True:
        counts, outliers = magnitudes.linear(bins, top)
        if counts[:levels].sum() < _NEARLY_ALL * (counts.sum() + outliers):
            divergences = [_divergence(counts, end, outliers, levels) for end in ends]
            best = int(np.argmin(divergences))
            if best > 0:
                return float(top * ends[best] / bins)
        top *= _ZOOM


def _divergence(counts: np.ndarray, end: int, outliers: float, levels: int) -> float:
    """Divergence of `counts` in `levels` levels from `counts`, both clipped after `end` bins."""
    kept = counts[:end]
    used = kept > 0
    if not used.any():
        return float("inf")
    reference = kept.copy()
    reference[-1] += counts[end:].sum() + outliers
    starts = (np.arange(levels) * end) // levels
    totals = np.add.reduceat(kept, starts)
    members = np.add.reduceat(used.astype(np.float64), starts)
    level_of_bin = np.repeat(np.arange(levels), np.diff(np.append(starts, end)))
    quantized = np.where(used, (totals / np.maximum(members, 1))[level_of_bin], 0.0)
    occurs = reference > 0
    p = reference[occurs] / reference.sum()
    q = quantized[occurs] / quantized.sum()
    empty = q == 0  # only the last bin can be: outliers fell into it and nothing else did
    q = np.where(empty, _SMOOTHING, q * (1 - _SMOOTHING * empty.sum()))
    return float(np.sum(p * np.log(p / q)))
