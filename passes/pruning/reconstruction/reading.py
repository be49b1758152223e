"""Sums over the rows that a layer reads, and over what it should write, in parts that can check each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal
from pruna_ir.passes.pruning.reconstruction.observations import Chunk
from pruna_ir.passes.pruning.reconstruction.sites import Site

# Samples are never believed less than this, of 1.
_LEAST_TRUST = 1e-3


@dataclass(frozen=True)
class Aim:
    """What a layer should write: sums over the rows of each part, with the parts as the first axis.

    `cross` of t x^T [parts, groups, outputs, width], `total` of t and `power` of t^2 [parts, groups, outputs].
    """

    cross: np.ndarray
    total: np.ndarray
    power: np.ndarray


class Reading:
    """Second moments of the rows that a layer reads, about their mean if it has room for a bias, else about zero.

    Batches go to the `parts` in turn.
    """

    def __init__(self, site: Site, chunks: Iterable[Chunk] = (), parts: int = 1) -> None:
        groups, _, width = site.matrix.shape
        self.site, self._batches = site, 0
        # Sums are over rows from which the first batch's mean is subtracted where the mean is to be: it is near.
        self._base = np.zeros((groups, width), np.float32)
        self._counts = np.zeros(parts, np.int64)
        self._total, self._sum = np.zeros((parts, groups, width)), np.zeros((parts, groups, width, width))
        # Squared Frobenius norms of the batches' sums, and squared numbers of rows.
        self._squares, self._squared_counts = np.zeros(groups), 0
        for chunk in chunks:
            self.add(chunk.read)

    def add(self, read: np.ndarray) -> None:
        """Add the rows of a batch; it is multiplied in float32, and the batches are added in float64."""
        if not self._batches and self.site.bias_slot is not None:
            self._base = read.mean(axis=1)
        part = self._batches % len(self._counts)
        read = read - self._base[:, None]
        gram = np.matmul(read.transpose(0, 2, 1), read)
        self._sum[part] += gram
        self._total[part] += read.sum(axis=1, dtype=np.float64)
        self._counts[part] += read.shape[1]
        self._squares += np.square(gram, dtype=np.float64).sum(axis=(1, 2))
        self._squared_counts += read.shape[1] ** 2
        self._batches += 1

    def aim(self, chunks: Iterable[Chunk], wanted: Callable[[Chunk], np.ndarray]) -> Aim:
        """What the layer should write if that is `wanted` [groups, rows, outputs] of each chunk."""
        parts, shape = len(self._counts), self.site.matrix.shape
        cross, total, power = np.zeros((parts, *shape)), np.zeros((parts, *shape[:2])), np.zeros((parts, *shape[:2]))
        for number, chunk in enumerate(chunks):
            outputs, part = wanted(chunk), number % parts
            cross[part] += np.matmul(outputs.transpose(0, 2, 1), chunk.read - self._base[:, None])
            total[part] += outputs.sum(axis=1, dtype=np.float64)
            power[part] += np.square(outputs, dtype=np.float64).sum(axis=1)
        return Aim(cross, total, power)

    def normal(self, aim: Aim, without: int | None = None) -> Normal:
        """The quadratic of the layer over all rows, or those of all parts but one."""
        chosen = np.arange(len(self._counts)) != without
        count = max(int(self._counts[chosen].sum()), 1)
        cross, total, power = (part[chosen].sum(axis=0) / count for part in (aim.cross, aim.total, aim.power))
        offset = total if self.site.bias_slot is not None else self.site.bias
        away = self._total[chosen].sum(axis=0) / count
        cross = cross - offset[..., None] * away[:, None]
        gram, center = self._moments(chosen)
        return Normal(gram, cross, power - 2 * offset * total + offset**2, center, offset, self.noise)

    def unchanged(self, site: Site) -> Normal:
        """The quadratic of a layer that reads these rows, if it should write what its first weights make of them."""
        gram, center = self._moments(np.ones(len(self._counts), bool))
        cross = site.matrix @ gram
        offset = site.bias + (site.matrix @ center[..., None])[..., 0]
        power = (cross * site.matrix).sum(axis=-1)
        return Normal(gram, cross, power, center, offset, self.noise)

    def error(self, aim: Aim, part: int, weights: np.ndarray, bias: np.ndarray) -> float:
        """The squared error of weights [groups, outputs, width] and a bias [groups, outputs], over a part's rows."""
        bias = bias + (weights @ self._base.astype(np.float64)[..., None])[..., 0]
        total, wanted = self._total[part][:, None], aim.total[part]
        square = ((weights @ self._sum[part]) * weights).sum() + self._counts[part] * np.square(bias).sum()
        square += 2 * (bias * (weights * total).sum(axis=-1)).sum()
        return float(square - 2 * ((weights * aim.cross[part]).sum() + (bias * wanted).sum()) + aim.power[part].sum())

    def _moments(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The Gram matrices of some parts, and what they are about."""
        count = max(int(self._counts[chosen].sum()), 1)
        away = self._total[chosen].sum(axis=0) / count
        gram = self._sum[chosen].sum(axis=0) / count
        if self.site.bias_slot is None:
            return gram, np.zeros_like(away)
        return gram - away[:, :, None] * away[:, None], self._base + away

    @property
    def noise(self) -> np.ndarray:
        """The ridge, as a share of the mean diagonal, that shrinkage of the covariance comes to (Ledoit & Wolf 2004).

        How much the batches differ says how far their mean is off: rows of one image are no independent samples.
        """
        if self._batches < 2:
            return np.zeros(len(self._squares))
        count = int(self._counts.sum())
        mean = self._sum.sum(axis=0) / count
        size = np.square(mean).sum(axis=(1, 2))
        spread = self._squares - (2 * count**2 / self._batches - self._squared_counts) * size
        doubt = np.maximum(spread, 0) / count**2 * self._batches / (self._batches - 1)
        distance = size - np.trace(mean, axis1=1, axis2=2) ** 2 / mean.shape[1]
        share = np.clip(doubt / np.maximum(distance, np.finfo(float).tiny), 0.0, 1.0 - _LEAST_TRUST)
        return np.asarray(share / (1.0 - share))
