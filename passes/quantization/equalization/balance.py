"""Scales of channels, from how large their values are and how large the weights that read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.passes.quantization.equalization.links import UNSCALED, Labels, Link, Parameter

# Links whose channels differ by less than this factor stay as they are.
WORTHWHILE = 1.1
# Repeated sweeps over all links end when no scale moves by more than this factor, or after so many.
_SETTLED = 1.01
_SWEEPS = 20
# A channel this much smaller than the largest is taken to be dead: it keeps its scale.
_DEAD = 1e-5


@dataclass(frozen=True)
class Spread:
    """How much the channels of a link differ, and what to do about it.

    `largest` are the largest magnitudes of their values, (channels,); None: go by the weights that write them instead.
    `alpha` is the share of the differences that is taken away there. The rest stays, so that the weights that read the
    channels do not come to differ as much in turn.
    """

    link: Link
    largest: np.ndarray | None
    alpha: float


def solve(spreads: list[Spread]) -> list[np.ndarray | None]:
    """Scales for each link, float64 of shape (channels,); None where they are not worthwhile.

    Links have weights in common, so that the scales of one change what another sees: they are taken in turn until they
    settle (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019).
    """
    weights = _Weights(spreads)
    scales = [np.ones(spread.link.channels) for spread in spreads]
    for _ in range(_SWEEPS):
        moved = 1.0
        for number, spread in enumerate(spreads):
            written = weights.written(spread.link) if spread.largest is None else spread.largest / scales[number]
            step = _step(spread, written, weights.read(spread.link))
            scales[number] *= step
            weights.scale(spread.link, step)
            moved = max(moved, ratio(step))
        if moved < _SETTLED:
            break
    return [found if ratio(found) > WORTHWHILE else None for found in scales]


def ratio(scales: np.ndarray) -> float:
    """The largest scale over the smallest."""
    return float(scales.max() / scales.min())


def _step(spread: Spread, written: np.ndarray, read: np.ndarray) -> np.ndarray:
    """written ** alpha / read ** (1 - alpha) for the channels that may be scaled, times what suits the others.

    With alpha = 1/2 that equalizes weights (DFQ), or moves half of the differences into them (Xiao et al.,
    "SmoothQuant", 2022). Where some channels are held, the scaled ones come to reach as far as those.
    """
    held, alpha = spread.link.held, spread.alpha
    free = ~held & (written > _DEAD * written.max(initial=0.0)) & (read > 0)
    step = np.ones_like(written)
    if not free.any():
        return step
    reach = np.log(written[free])
    wanted = alpha * reach - (1 - alpha) * np.log(read[free])
    bound = written[held].max(initial=0.0)
    common = (reach - wanted).max() - np.log(bound) if bound > 0 else -wanted.mean()
    step[free] = np.exp(wanted + common)
    return step


class _Weights:
    """The weights that links have at their ends, as the scales found so far make them."""

    def __init__(self, spreads: list[Spread]) -> None:
        parameters = [parameter for spread in spreads for parameter in spread.link.ends]
        self._values = {_key(one): np.abs(np.asarray(one.constant.values, np.float64)) for one in parameters}

    def written(self, link: Link) -> np.ndarray:
        """The largest weight that writes each channel."""
        return self._largest(link, link.ends[:1])

    def read(self, link: Link) -> np.ndarray:
        """The largest weight that reads each channel."""
        return self._largest(link, link.ends[1:])

    def scale(self, link: Link, scales: np.ndarray) -> None:
        """Take the scales of a link into account."""
        for parameter in link.ends:
            factors = parameter.factors(scales)
            self._values[_key(parameter)] = self._values[_key(parameter)] * factors

    def _largest(self, link: Link, parameters: list[Parameter]) -> np.ndarray:
        found = np.zeros(link.channels + 1)  # the last one for what is not scaled
        for parameter in parameters:
            np.maximum.at(found, parameter.labels, _reduced(self._values[_key(parameter)], parameter.labels))
        return found[:UNSCALED]


def _key(parameter: Parameter) -> tuple[int, int]:
    return id(parameter.node), parameter.position


def _reduced(values: np.ndarray, labels: Labels) -> np.ndarray:
    """The largest values along the axes on which the labels do not depend."""
    axes = tuple(axis for axis, size in enumerate(labels.shape) if size == 1)
    return np.asarray(values.max(axis=axes, keepdims=True))
