"""The error of a layer's outputs as a quadratic of its weights, and the weights at which it is least.

Arrays have a leading axis of groups of channels, one for every layer that is no grouped convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What moving a weight away from its first value costs at least, as a share of what it costs if an input is wrong.
RIDGE = 1e-2


@dataclass(frozen=True)
class Normal:
    """Averages over the rows x that a layer reads and the outputs t that it should write.

    `gram` E[x x^T] [groups, width, width], `cross` E[t x^T] [groups, outputs, width], `power` E[t^2] [groups, outputs],
    all of x - `center` [groups, width] and t - `offset` [groups, outputs]. Centred at the means, the best bias has been
    eliminated; centred at zero and at the layer's own bias, the bias stays what it is. `noise` [groups] says how far
    samples, of which there are never enough, leave the Gram matrix in doubt: the ridge that makes up for it.
    """

    gram: np.ndarray
    cross: np.ndarray
    power: np.ndarray
    center: np.ndarray
    offset: np.ndarray
    noise: np.ndarray

    def ridge(self, share: float) -> np.ndarray:
        """What is added to the diagonal of each Gram matrix, [groups, 1, 1]; never 0, so that it can be solved."""
        mean = np.trace(self.gram, axis1=1, axis2=2) / max(self.gram.shape[1], 1)
        return np.asarray(np.where(mean > 0, np.maximum(share, self.noise) * mean, 1.0))[:, None, None]

    def damped(self, share: float) -> np.ndarray:
        """The Gram matrices with the ridge on their diagonals."""
        return np.asarray(self.gram + self.ridge(share) * np.eye(self.gram.shape[1]))

    def bias(self, weights: np.ndarray) -> np.ndarray:
        """The bias [groups, outputs] that belongs to weights."""
        return np.asarray(self.offset - (weights @ self.center[..., None])[..., 0])


def solve(normal: Normal, prior: np.ndarray, kept: np.ndarray, share: float = RIDGE) -> np.ndarray:
    """Weights [groups, outputs, width] of least error that are zero except in the `kept` columns (a mask).

    The ridge pulls them to `prior`, which is where directions stay that the rows do not show. Rows that were not finite
    leave the prior.
    """
    columns = np.flatnonzero(kept)
    weights = np.zeros_like(prior)
    weights[..., columns] = prior[..., columns]
    if not columns.size or not (np.isfinite(normal.gram).all() and np.isfinite(normal.cross).all()):
        return weights
    pull = normal.ridge(share)
    gram = normal.gram[:, columns[:, None], columns] + pull * np.eye(columns.size)
    right = normal.cross[..., columns] + pull * prior[..., columns]
    weights[..., columns] = np.linalg.solve(gram, right.transpose(0, 2, 1)).transpose(0, 2, 1)
    return weights
