"""How many samples a classifier can be expected to lose, from by how much it gets each of them right or wrong.

Of a hundred samples one more mistake is a drop of one per cent, and says little. But all samples show what a change
does to margins (the score of the right class less the best other one), and many more margins are small than cross
zero. So the change of each is tried on all samples of about the same margin: the same expectation, with the spread of
two to four times as many samples (ResNet-20 with weights rounded to 4 to 7 bits, 100 samples).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

# With fewer samples than this mistakes are counted.
FEWEST = 64
# The share of all samples that counts as those of about the same margin: noise grows with the size of the scores.
_NEIGHBOURS = 0.25
# How many standard errors of the count the expectation may lie beside it: margins of an odd kind are not believed.
_TRUSTED = 2.0
# Probabilities below this make no difference.
_TINY = 1e-3


def margins(scores: np.ndarray, classes: np.ndarray, k: int = 1) -> np.ndarray:
    """By how much each class is among the k best of its row of `scores` [N, classes > k]; negative if it is not.

    Probabilities count by their logarithms, which are as far apart as the scores that they were made of.
    """
    scores = scores.astype(np.float64)
    if scores.size and scores.min() >= 0.0 and scores.max() <= 1.0 + _TINY:
        scores = np.log(np.maximum(scores, _TINY))
    rows = np.arange(len(scores))
    own = scores[rows, classes]
    others = scores.copy()
    others[rows, classes] = -np.inf
    return np.asarray(own - np.partition(others, -k, axis=1)[:, -k])


def expected_loss(before: np.ndarray, after: np.ndarray) -> float | None:
    """The share of samples that is expected to turn from right to wrong, less the share that turns right.

    `before` and `after` are the margins of the same samples. None for too few samples, or margins that are no numbers.
    """
    count = len(before)
    if count < FEWEST or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    order = np.argsort(before, kind="stable")
    margin, change = before[order], (after - before)[order]
    width = math.ceil(count * _NEIGHBOURS)
    first = np.clip(np.arange(count) - width // 2, 0, count - width)
    moved = margin[:, None] + sliding_window_view(change, width)[first]
    expected = float((margin > 0).mean() - (moved > 0).mean())
    lost, won = int(((before > 0) & (after <= 0)).sum()), int(((before <= 0) & (after > 0)).sum())
    counted, doubt = (lost - won) / count, _TRUSTED * math.sqrt(lost + won + 1) / count
    return min(max(expected, counted - doubt), counted + doubt)
