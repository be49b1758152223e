"""Least squares over rows of which some count more: rounds of it, for what a smooth activation makes of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal, solve
from pruna_ir.passes.pruning.reconstruction.observations import Chunk
from pruna_ir.passes.pruning.reconstruction.sites import Site
from pruna_ir.passes.pruning.reconstruction.smooth import Smooth

# Outputs have weights of their own where their matrices have at most so many values; and so many are read at a time.
MOST_APART = 1 << 21
_READ = 1 << 22
# Rows that do not count at all still count this much: weights are divided by.
_LEAST = 1e-6
# What a layer reads [groups, rows, width], what each row counts [groups, rows], what is wanted [groups, rows, outputs].
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def normal_of(rows: Iterable[Rows], prior: np.ndarray, bias: np.ndarray, centred: bool) -> Normal:
    """The quadratic of a layer with `prior` [groups, outputs, width] and `bias` over weighted rows, batch by batch.

    `centred` says that the layer has room for another bias.
    """
    groups, outputs, width = prior.shape
    base = np.zeros((groups, 1, width), np.float32)
    gram, away = np.zeros((groups, width, width)), np.zeros((groups, width))
    cross, total, power = np.zeros(prior.shape), np.zeros((groups, outputs)), np.zeros((groups, outputs))
    count = np.zeros((groups, 1))
    for number, (read, weight, wanted) in enumerate(rows):
        if centred and not number:
            base = read.mean(axis=1, keepdims=True)
        near = read - base
        counted, aimed = (near * weight[..., None]).transpose(0, 2, 1), wanted * weight[..., None]
        gram += counted @ near
        away += counted.sum(axis=2, dtype=np.float64)
        cross += aimed.transpose(0, 2, 1) @ near
        total += aimed.sum(axis=1, dtype=np.float64)
        power += (aimed * wanted).sum(axis=1, dtype=np.float64)
        count += weight.sum(axis=1, dtype=np.float64)[:, None]
    count = np.maximum(count, np.finfo(float).tiny)
    away, total, power = away / count, total / count, power / count
    offset = total if centred else bias
    gram, cross = gram / count[..., None], cross / count[..., None] - offset[..., None] * away[:, None]
    if centred:
        gram = gram - away[:, :, None] * away[:, None]
    power = power - 2 * offset * total + offset**2
    return Normal(gram, cross, power, base[:, 0] + away if centred else 0 * away, offset, np.zeros(groups))


class Rounds:
    """Rounds for one layer and the activation behind it."""

    def __init__(self, site: Site, chunks: Iterable[Chunk], activation: Smooth) -> None:
        self._site, self._chunks, self._activation = site, chunks, activation
        self._apart = activation.saturates and site.matrix.size * site.layer.width <= MOST_APART

    def run(
        self, weights: np.ndarray, bias: np.ndarray, kept: np.ndarray, share: float, rounds: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The weights and bias after so many rounds from these, for each output those of its best round.

        Each starts a little further on than the last ended: weights far from their goal get there sooner.
        """
        centred, last = self._site.bias_slot is not None, (weights, bias)
        best, least = last, self._errors(weights, bias)
        prior, first = self._split(self._site.matrix), self._split(self._site.bias[..., None])[..., 0]
        for number in range(rounds):
            ahead = number / (number + 3)
            at, near = weights + ahead * (weights - last[0]), bias + ahead * (bias - last[1])
            last = weights, bias
            normal = normal_of(self._rows(at, near), prior, first, centred)
            found = solve(normal, prior, kept, share)
            weights, bias = found.reshape(weights.shape), normal.bias(found).reshape(bias.shape)
            errors = self._errors(weights, bias)
            better = errors < least
            least = np.where(better, errors, least)
            best = np.where(better[..., None], weights, best[0]), np.where(better, bias, best[1])
        return best

    def _errors(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The squared errors behind the activation [groups, outputs]."""
        total = np.zeros(bias.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # an error that is not finite is not less
            for chunk, _, now in self._runs(weights, bias):
                total += np.square(self._activation(now) - self._activation(chunk.target)).sum(axis=1, dtype=np.float64)
        return total

    def _rows(self, weights: np.ndarray, bias: np.ndarray) -> Iterator[Rows]:
        """What there is to fit.

        With one weight for all outputs, it is that of the output for which the row counts most, and the others are
        asked for a part of the way from where they are.
        """
        for chunk, own, now in self._runs(weights, bias):
            counts = self._activation.weights(now, chunk.target)
            if self._apart:
                yield from self._single(chunk, np.maximum(counts, np.float32(_LEAST)))
            else:
                most = np.maximum(counts.max(axis=2), np.float32(_LEAST))
                yield chunk.read, most, own + counts / most[..., None] * (chunk.wanted - own)

    def _runs(self, weights: np.ndarray, bias: np.ndarray) -> Iterator[tuple[Chunk, np.ndarray, np.ndarray]]:
        """Each chunk, what the layer writes there, and that with the other summands."""
        matrix, shift = weights.transpose(0, 2, 1).astype(np.float32), bias[:, None].astype(np.float32)
        for chunk in self._chunks:
            own = np.matmul(chunk.read, matrix) + shift
            yield chunk, own, own if chunk.others is None else own + chunk.others

    def _single(self, chunk: Chunk, counts: np.ndarray) -> Iterator[Rows]:
        """The rows for each output, as a group of its own."""
        outputs, wanted = self._site.matrix.shape[1], chunk.wanted
        step = max(_READ // self._site.matrix.size, 1)
        for at in range(0, wanted.shape[1], step):
            rows = (slice(None), slice(at, at + step))
            read = np.repeat(chunk.read[rows], outputs, axis=0)
            yield read, _apart(counts[rows])[..., 0], _apart(wanted[rows])

    def _split(self, values: np.ndarray) -> np.ndarray:
        """Values [groups, outputs, n], with a group for each output where these are apart."""
        return values.reshape(-1, 1, values.shape[2]) if self._apart else values


def _apart(values: np.ndarray) -> np.ndarray:
    """Values [groups, rows, outputs] as [groups * outputs, rows, 1]."""
    return values.transpose(0, 2, 1).reshape(-1, values.shape[1], 1)
